// What an operator's functions are asked, when, and what their answers do.
import path from "node:path";
import { totp } from "../codes.mjs";
import { ADA, BROKEN, eventually, REFUSED, said, soon, startMortal } from "../helpers.mjs";
import { readTables } from "../tables.mjs";
import { configuration, startFor, startWebhook } from "../target.mjs";

/** Which hook a call is for: `user create.before`. */
const hookOf = (callback) => callback.replace("databaseHooks.", "").replace(".", " ");

/** How many rows these tables have. */
async function count(stage, ...names) {
  const tables = await stage.database.read();
  return names.map((name) => tables.get(name).size);
}

export default [
  {
    id: "hooks-before-transactions",
    what: "what is there when the account's hook is asked, and after it has refused",
    async alone({ t, kind, folder }) {
      const seen = {};
      for (const [name, database] of [["drawn ids", {}], ["counted ids", { generateId: "serial" }]]) {
        const file = path.join(folder, `${name}.db`);
        let server;
        const { url: webhook } = await startWebhook(t, async ({ args: [account] }) => {
          // Somebody whom nobody knows. While a transaction has the one connection to SQLite there is no answer.
          const back = server.browser().call("POST", "/sign-in/email", { body: ADA });
          const callback = await soon(back.then(said), 3, "no answer");
          seen[name] = { callback, userId: typeof account.userId, accountId: typeof account.accountId };
          return REFUSED;
        });
        server = await startFor(t, kind, configuration(`sqlite:${file}`, {
          databaseHooks: { account: { create: { before: { webhook } } } },
          advanced: { database, disableOriginCheck: false },
        }));
        const answer = said(await server.browser().call("POST", "/sign-up/email", { body: { ...ADA, email: "byron@example.com" } }));
        seen[name].answer = answer;
        seen[name].users = readTables(file).get("user").size;
      }
      return seen;
    },
    peer: {
      "drawn ids": { callback: "no answer", userId: "string", accountId: "string", answer: "409 NOT_HERE", users: 0 },
      "counted ids": { callback: "no answer", userId: "string", accountId: "string", answer: "409 NOT_HERE", users: 0 },
    },
    portcullis: {
      "drawn ids": { callback: "401 INVALID_EMAIL_OR_PASSWORD", userId: "string", accountId: "string", answer: "409 NOT_HERE", users: 0 },
      "counted ids": { callback: "401 INVALID_EMAIL_OR_PASSWORD", userId: "undefined", accountId: "undefined", answer: "409 NOT_HERE", users: 0 },
    },
  },
  ...["user", "account"].flatMap((model) =>
    [
      ["refuses", REFUSED, { answer: "409 NOT_HERE", cookies: ["better-auth.session_token"], session: "ada@example.com", rows: [1, 1] }],
      // The cookie is lost with the answer, and the session stays.
      ["fails", BROKEN, { answer: "500", cookies: [], session: undefined, rows: [1, 1] }],
    ].map(([name, outcome, peer]) => ({
      id: "after-hook-before-session",
      what: `the hook after the ${model} was made ${name}`,
      config: (hook) => ({ databaseHooks: { [model]: { create: { after: hook } } } }),
      answer: () => outcome,
      async play(stage) {
        const ada = stage.browser();
        const answered = said(await ada.post("/sign-up/email", ADA));
        const cookies = ada.jar.names();
        const session = (await ada.get("/get-session")).json?.user.email;
        return { answer: answered, cookies, session, rows: await count(stage, "user", "session") };
      },
      peer,
      portcullis: { answer: peer.answer, cookies: [], session: undefined, rows: [1, 0] },
    })),
  ),
  {
    id: "hooks-fail-closed",
    what: "answers that are none, and a field of the wrong type",
    config: (hook) => ({ databaseHooks: { session: { create: { before: hook } } } }),
    // Each browser brings its answer.
    answer: ({ args: [session] }) => ({ result: JSON.parse(session.userAgent) }),
    async play(stage) {
      const answers = {};
      for (const result of ['"no"', "0", '{"allowed":false}', '{"data":[]}', '{"data":{"ipAddress":7}}']) {
        const headers = { "user-agent": result };
        const email = `ada${Object.keys(answers).length}@example.com`;
        answers[result] = said(await stage.browser().post("/sign-up/email", { ...ADA, email }, { headers }));
      }
      return { answers, rows: await count(stage, "user", "session") };
    },
    peer: {
      answers: { '"no"': "200", 0: "200", '{"allowed":false}': "200", '{"data":[]}': "200", '{"data":{"ipAddress":7}}': "200" },
      rows: [5, 5],
    },
    portcullis: {
      answers: { '"no"': "500", 0: "500", '{"allowed":false}': "500", '{"data":[]}': "500", '{"data":{"ipAddress":7}}': "500" },
      rows: [0, 0],
    },
  },
  {
    id: "hooks-fail-closed",
    what: "the sessions that a reset ends cannot be read",
    on: "postgres",
    async alone({ t, kind, database }) {
      const url = await database.create(`hooks_${kind}`);
      const guest = `guest_${kind}`;
      // Somebody whose rights can be taken away.
      await database.query(url, `create role ${guest} login; grant all on schema public to ${guest}`);
      let token;
      const asked = [];
      const { url: webhook } = await startWebhook(t, ({ callback, args }) => {
        if (callback.endsWith("sendResetPassword")) token = args[0].token;
        else asked.push(hookOf(callback));
        return callback.endsWith("before") ? REFUSED : { result: null };
      });
      const server = await startFor(t, kind, configuration(url.replace("portcullis@", `${guest}@`), {
        emailAndPassword: { enabled: true, sendResetPassword: { webhook }, revokeSessionsOnPasswordReset: true },
        databaseHooks: { session: { delete: { before: { webhook } } } },
      }));
      const post = (route, body) => server.browser().call("POST", route, { body });
      await post("/sign-up/email", ADA);
      const reset = async () => {
        token = undefined;
        asked.length = 0;
        await post("/request-password-reset", { email: ADA.email });
        await eventually(() => token);
        const answer = said(await post("/reset-password", { token, newPassword: "another good one" }));
        return { answer, asked: [...asked], sessions: (await database.query(url, "select id from session")).length };
      };
      const readable = await reset();
      // Rows can still be found and deleted.
      await database.query(url, `revoke select on session from ${guest}; grant select (id, "userId") on session to ${guest}`);
      return { readable, unreadable: await reset() };
    },
    peer: {
      readable: { answer: "409 NOT_HERE", asked: ["session delete.before"], sessions: 1 },
      unreadable: { answer: "200", asked: [], sessions: 0 },
    },
    portcullis: {
      readable: { answer: "409 NOT_HERE", asked: ["session delete.before"], sessions: 1 },
      unreadable: { answer: "500", asked: [], sessions: 1 },
    },
  },
  {
    id: "hooks-keep-users-whole",
    what: "false from user.delete.before",
    config: (hook) => ({ user: { deleteUser: { enabled: true } }, databaseHooks: { user: { delete: { before: hook } } } }),
    answer: () => ({ result: false }),
    async play(stage) {
      const ada = stage.browser();
      await ada.post("/sign-up/email", ADA);
      const answer = await ada.post("/delete-user", { password: ADA.password });
      return { answer: said(answer), message: answer.json.message, rows: await count(stage, "user", "session", "account") };
    },
    peer: { answer: "200", message: "User deleted", rows: [1, 0, 0] },
    portcullis: { answer: "403", message: "The user can not be deleted", rows: [1, 1, 1] },
  },
  {
    id: "hooks-false-to-updates",
    what: "false from user.update.before and session.update.before",
    config: (hook) => ({
      session: { cookieCache: { enabled: true } },
      databaseHooks: { user: { update: { before: hook } }, session: { update: { before: hook } } },
    }),
    answer: () => ({ result: false }),
    async play(stage) {
      const ada = stage.browser();
      await ada.post("/sign-up/email", ADA);
      await ada.post("/update-user", { name: "Countess" });
      const updated = (await ada.get("/get-session")).json.user.name;
      // The session is due to be extended.
      stage.later(2 * 86_400);
      const refreshed = await ada.get("/get-session");
      return { updated, refreshed: said(refreshed), name: refreshed.json.user?.name, left: ada.jar.names() };
    },
    peer: { updated: "Countess", refreshed: "401 FAILED_TO_GET_SESSION", name: undefined, left: [] },
    portcullis: { updated: "Ada", refreshed: "200", name: "Ada", left: ["better-auth.session_token", "better-auth.session_data"] },
  },
  {
    id: "hooks-quiet-rows",
    what: "half a sign-in that nobody has finished is swept by the next one",
    config: (hook) => ({
      plugins: { twoFactor: { skipVerificationOnEnable: true } },
      databaseHooks: { verification: { delete: { before: hook, after: hook } } },
    }),
    async play(stage) {
      const ada = stage.browser();
      await ada.post("/sign-up/email", ADA);
      const { totpURI } = (await ada.post("/two-factor/enable", { password: ADA.password })).json;
      await stage.browser().post("/sign-in/email", ADA);
      stage.later(3_600);
      const eve = stage.browser();
      await eve.post("/sign-in/email", ADA);
      const done = said(await eve.post("/two-factor/verify-totp", { code: totp(totpURI, stage.now) }));
      const expired = stage.hook.calls.filter(({ args: [row] }) => new Date(row.expiresAt) < stage.now);
      const rows = [...(await stage.database.read()).get("verification").values()];
      const left = rows.filter((row) => new Date(row.expiresAt) < stage.now).length;
      return { done, told: expired.map(({ callback }) => hookOf(callback)), left };
    },
    peer: { done: "200", told: ["verification delete.before", "verification delete.before", "verification delete.after", "verification delete.after"], left: 0 },
    portcullis: { done: "200", told: [], left: 0 },
  },
  {
    id: "hash-of-your-own",
    what: "functions that refuse to hash and to compare",
    config: (hook) => ({ emailAndPassword: { enabled: true, password: { hash: hook, verify: hook } } }),
    answer: ({ args: [password] }) => (password === ADA.password ? { result: "hash" } : REFUSED),
    async play(stage) {
      const somebody = stage.browser();
      await somebody.post("/sign-up/email", ADA);
      const compared = await somebody.post("/sign-in/email", ADA);
      const hashed = await somebody.post("/sign-up/email", { ...ADA, email: "byron@example.com", password: "another good one" });
      // The peer shares its process, and its log is off.
      const log = () => stage.server.stderr?.().match(/(?<=callback failed callback=")[^"]*/g);
      if (stage.server.stderr) await eventually(() => log()?.length === 2);
      return { compared: said(compared), hashed: said(hashed), log: log() };
    },
    peer: { compared: "409 NOT_HERE", hashed: "409 NOT_HERE", log: undefined },
    portcullis: { compared: "500", hashed: "500", log: ["emailAndPassword.password.verify", "emailAndPassword.password.hash"] },
  },
  {
    id: "trusted-origins-function",
    what: "a function that fails",
    async alone({ t, kind, folder }) {
      const { url } = await startWebhook(t, ({ args: [request] }) => (request ? BROKEN : { result: [] }));
      const server = await startMortal(t, kind, configuration(`sqlite:${path.join(folder, "origins.db")}`, { trustedOrigins: { webhook: url } }));
      const answer = (headers) => server.browser().call("POST", "/sign-up/email", { body: ADA, headers }).then(said, () => "no answer");
      const answers = { "one's own origin": await answer(), "another origin": await answer({ origin: "https://app.example.com" }) };
      const logged = await eventually(() => /trustedOrigins failed/.test(server.stderr()), 3);
      return { ...answers, logged };
    },
    peer: { "one's own origin": "no answer", "another origin": "no answer", logged: false },
    portcullis: { "one's own origin": "200", "another origin": "403 INVALID_ORIGIN", logged: true },
  },
];

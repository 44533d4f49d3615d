// Signing up and in, and what is remembered of a session.
import pg from "pg";
import { totp } from "../codes.mjs";
import { ADA, eventually, halfASecond, said, soon, startForPeople, startHeldMail } from "../helpers.mjs";
import { configuration, startFor, startWebhook } from "../target.mjs";

const OTHER_PASSWORD = "another good one";

/** What may refuse a new user. */
const ASKED = ["user.validateUserInfo", "databaseHooks.user.create.before", "databaseHooks.account.create.before"];

const keys = (object) => Object.keys(object).join(" ");

export default [
  {
    id: "totp-once",
    what: "the code of the set-up, and one that is shown twice",
    config: () => ({ plugins: { twoFactor: {} } }),
    async play(stage) {
      const seen = {};
      for (const [name, totpOptions] of [["as it is", {}], ["allowReuse", { allowReuse: true }]]) {
        await stage.restart({ plugins: { twoFactor: { totpOptions } } });
        const credentials = { ...ADA, email: `ada${Object.keys(seen).length}@example.com` };
        const ada = stage.browser();
        await ada.post("/sign-up/email", credentials);
        const { totpURI } = (await ada.post("/two-factor/enable", { password: ADA.password })).json;
        const signedIn = async (code) => {
          const browser = stage.browser();
          await browser.post("/sign-in/email", credentials);
          return said(await browser.post("/two-factor/verify-totp", { code }));
        };
        const code = totp(totpURI, stage.now);
        const answers = [said(await ada.post("/two-factor/verify-totp", { code })), await signedIn(code), await signedIn(code)];
        seen[name] = answers;
      }
      return seen;
    },
    peer: { "as it is": ["200", "200", "200"], allowReuse: ["200", "200", "200"] },
    portcullis: { "as it is": ["200", "200", "401 INVALID_CODE"], allowReuse: ["200", "200", "200"] },
  },
  {
    id: "username-in-turn",
    what: "a session that is due, and a name that is refused",
    config: () => ({ plugins: { username: {} } }),
    async play(stage) {
      await stage.browser().post("/sign-up/email", { ...ADA, username: "ada" });
      const seen = {};
      for (const [what, username] of [["taken", "ada"], ["short", "a"]]) {
        const grace = stage.browser();
        await grace.post("/sign-up/email", { ...ADA, email: `${what}@example.com` });
        stage.later(2 * 86_400);
        const answer = await grace.post("/update-user", { username });
        const cookie = answer.setCookies.some((text) => /^better-auth\.session_token=[^;]+;/.test(text));
        const { session } = (await grace.call("GET", "/get-session", { query: { disableRefresh: "true" } })).json;
        const days = Math.round((Date.parse(session.expiresAt) - stage.now) / 86_400_000);
        seen[what] = [said(answer), cookie ? "cookie" : "no cookie", `${days} days`];
      }
      return seen;
    },
    peer: { taken: ["400 USERNAME_IS_ALREADY_TAKEN", "no cookie", "7 days"], short: ["400 USERNAME_TOO_SHORT", "no cookie", "5 days"] },
    portcullis: { taken: ["400 USERNAME_IS_ALREADY_TAKEN", "cookie", "7 days"], short: ["400 USERNAME_TOO_SHORT", "cookie", "7 days"] },
  },
  {
    id: "sign-in-under-way",
    what: "the password is changed between its proof and the session",
    async alone({ t, kind, folder }) {
      // What happens while the next session is about to be made.
      let meanwhile;
      let token;
      const { url: webhook } = await startWebhook(t, async ({ callback, args }) => {
        if (callback.endsWith("sendResetPassword")) token = args[0].token;
        const deed = callback.endsWith("session.create.before") && meanwhile;
        if (deed) meanwhile = undefined;
        if (deed) await deed();
        return { result: null };
      });
      const server = await startFor(t, kind, configuration(`sqlite:${folder}/${kind}.db`, {
        emailAndPassword: { enabled: true, sendResetPassword: { webhook }, revokeSessionsOnPasswordReset: true },
        databaseHooks: { session: { create: { before: { webhook } } } },
      }));
      const post = (browser, route, body) => browser.call("POST", route, { body });
      const deeds = {
        async change(ada) {
          return post(ada, "/change-password", { currentPassword: ADA.password, newPassword: OTHER_PASSWORD, revokeOtherSessions: true });
        },
        async reset(ada, email) {
          await post(ada, "/request-password-reset", { email });
          await eventually(() => token);
          return post(ada, "/reset-password", { token, newPassword: OTHER_PASSWORD });
        },
      };
      const seen = {};
      for (const [name, deed] of Object.entries(deeds)) {
        const [ada, eve] = [server.browser(), server.browser()];
        const credentials = { ...ADA, email: `${name}@example.com` };
        await post(ada, "/sign-up/email", credentials);
        let done;
        meanwhile = async () => (done = said(await deed(ada, credentials.email)));
        const answer = said(await post(eve, "/sign-in/email", credentials));
        const session = (await eve.call("GET", "/get-session")).json;
        seen[name] = { done, answer, session: session?.user.email };
      }
      return seen;
    },
    peer: {
      change: { done: "200", answer: "200", session: "change@example.com" },
      reset: { done: "200", answer: "200", session: "reset@example.com" },
    },
    portcullis: {
      change: { done: "200", answer: "401 INVALID_EMAIL_OR_PASSWORD", session: undefined },
      reset: { done: "200", answer: "401 INVALID_EMAIL_OR_PASSWORD", session: undefined },
    },
  },
  {
    id: "discreet-sign-up",
    what: "the time of an answer about a taken address",
    async alone({ t, kind, folder }) {
      const { hook, waited } = await startHeldMail(t);
      const { url: webhook } = await startWebhook(t, () => ({ result: "hash" }));
      const server = await startForPeople(t, kind, folder, {
        // A hash would be most of the time.
        emailAndPassword: { enabled: true, requireEmailVerification: true, password: { hash: { webhook }, verify: { webhook } } },
        emailVerification: { sendVerificationEmail: hook },
      });
      const signUp = (email = ADA.email) => () => server.post(server.browser(), "/sign-up/email", { ...ADA, email });
      return {
        free: await waited(signUp()),
        taken: await waited(signUp()),
        halfASecond: await halfASecond(signUp()),
      };
    },
    peer: { free: "waits for the mail", taken: "answers", halfASecond: false },
    portcullis: { free: "answers", taken: "answers", halfASecond: true },
  },
  {
    id: "discreet-sign-up",
    what: "what is asked about free and taken addresses",
    config: (hook) => ({
      emailAndPassword: { enabled: true, autoSignIn: false },
      user: { validateUserInfo: hook },
      databaseHooks: { user: { create: { before: hook } }, account: { create: { before: hook } } },
    }),
    async play(stage) {
      const asked = {};
      for (const name of ["free", "taken"]) {
        const before = stage.hook.calls.length;
        await stage.browser().post("/sign-up/email", ADA);
        asked[name] = stage.hook.calls.slice(before).map(({ callback }) => callback);
      }
      return asked;
    },
    peer: { free: ASKED, taken: [] },
    portcullis: { free: ASKED, taken: ASKED },
  },
  {
    id: "session-memory",
    what: "a session is asked for while nobody may read the table",
    on: "postgres",
    async alone({ t, kind, folder, database }) {
      const url = await database.create(`sessions_${kind}`);
      const server = await startForPeople(t, kind, folder, { database: { url } });
      const ada = server.browser();
      const name = async () => (await ada.call("GET", "/get-session")).json.user.name;
      await ada.call("POST", "/sign-up/email", { body: ADA });
      const stranger = new pg.Client({ connectionString: url });
      await stranger.connect();
      // The database may end before this does.
      stranger.on("error", () => {});
      let answered = false;
      // That a session was read is remembered a moment after the answer.
      for (let tries = 0; !answered && tries < 6; tries++) {
        await name();
        await stranger.query("begin; lock table session in access exclusive mode");
        const answer = name();
        answered = await soon(answer.then(() => true), 1, false);
        await stranger.query("commit");
        await answer;
      }
      // What is remembered is not kept beyond what others write.
      await stranger.query(`update "user" set name = 'Countess'`);
      await eventually(async () => (await name()) === "Countess");
      const afterwards = await name();
      await stranger.end();
      return { answered, afterwards };
    },
    peer: { answered: false, afterwards: "Countess" },
    portcullis: { answered: true, afterwards: "Countess" },
  },
  {
    id: "json-order",
    what: "where the id stands, with and without a cookie cache",
    config: () => ({ session: { cookieCache: { enabled: true } } }),
    async play(stage) {
      const ada = stage.browser();
      const { user } = (await ada.post("/sign-up/email", ADA)).json;
      const cached = (await ada.get("/get-session")).json;
      const stored = (await ada.get("/get-session", { disableCookieCache: "true" })).json;
      return { made: keys(user), stored: keys(stored.user), cached: keys(cached.user) };
    },
    peer: {
      made: "name email emailVerified image createdAt updatedAt id",
      stored: "name email emailVerified image createdAt updatedAt id",
      cached: "id createdAt updatedAt email emailVerified name image",
    },
    portcullis: {
      made: "id name email emailVerified image createdAt updatedAt",
      stored: "id name email emailVerified image createdAt updatedAt",
      cached: "id name email emailVerified image createdAt updatedAt",
    },
  },
];

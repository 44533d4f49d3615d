// Secondary storage, and limits that are counted by functions: who comes between, what is under a key, what fails.
import net from "node:net";
import path from "node:path";
import { betterAuth } from "better-auth";
import { totp } from "../codes.mjs";
import { ADA, BROKEN, REFUSED, said, startMortal } from "../helpers.mjs";
import { configuration, selfCheck, startFor, startWebhook } from "../target.mjs";

const DAY = 86_400_000;

/** A storage by functions: `map` is what is in it, and while it is `away` every function fails. */
async function startStorage(t) {
  const storage = { map: new Map(), away: false };
  const { map } = storage;
  const functions = {
    get: (key) => map.get(key) ?? null,
    set: (key, value) => void map.set(key, value),
    delete: (key) => void map.delete(key),
    getAndDelete: (key) => {
      const value = map.get(key) ?? null;
      map.delete(key);
      return value;
    },
    increment: (key) => {
      map.set(key, `${Number(map.get(key) ?? 0) + 1}`);
      return Number(map.get(key));
    },
  };
  const { url } = await startWebhook(t, ({ callback, args }) =>
    storage.away ? BROKEN : { result: functions[callback.split(".")[1]](...args) ?? null });
  storage.settings = Object.fromEntries(Object.keys(functions).map((name) => [name, { webhook: url }]));
  return storage;
}

/** A way to a Redis on which something can be done at the moment before a key is written. */
async function startWayTo(t, redis) {
  const { port } = new URL(redis.url);
  const way = {};
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), "127.0.0.1");
    let turn = Promise.resolve();
    client.on("data", (chunk) => {
      turn = turn.then(async () => {
        const text = `${chunk}`;
        const { key, deed } = way.before ?? {};
        if (key && text.includes(key) && /\r\n(setex|set|eval)\r\n/i.test(text)) {
          delete way.before;
          await deed();
        }
        upstream.write(chunk);
      });
    });
    upstream.pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) one.on("close", () => other.destroy()).on("error", () => {});
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  way.url = `redis://127.0.0.1:${server.address().port}`;
  return way;
}

/** Two servers at one database and one Redis; something can be done before the first one writes a key. */
async function startTwo({ t, kind, folder, database: redis }) {
  const way = await startWayTo(t, redis);
  const settings = (url, over) => configuration(`sqlite:${path.join(folder, "both.db")}`, { secondaryStorage: { url, keyPrefix: `${kind}:` }, ...over });
  const here = await startFor(t, kind, settings(way.url));
  const there = await startFor(t, kind, settings(redis.url, { migrate: false }));
  return { here, there, way };
}

/** What better-auth says when a verification is to be reserved that only secondary storage has. */
async function reserveAtBetterAuth() {
  const map = new Map();
  const set = (key, value) => void map.set(key, value);
  const storage = { get: (key) => map.get(key), set, delete: (key) => void map.delete(key) };
  const { internalAdapter } = await betterAuth({ ...configuration(), database: undefined, secondaryStorage: storage, logger: { disabled: true } }).$context;
  const place = { identifier: "place", value: "taken", expiresAt: new Date(Date.now() + DAY) };
  return internalAdapter.reserveVerificationValue(place).catch((error) => error.message);
}

const post = (browser, route, body = {}, headers) => browser.call("POST", route, { body, headers });
const sessionOf = async (browser, headers) => (await browser.call("GET", "/get-session", { headers })).json;

export default [
  {
    id: "storage-races",
    what: "a session ends while it is being extended",
    on: "redis",
    async alone(place) {
      const { here, there, way } = await startTwo(place);
      const ada = here.browser();
      const { token } = (await post(ada, "/sign-up/email", ADA)).json;
      const other = ada.at(there);
      let ended;
      way.before = { key: token, deed: async () => (ended = said(await post(other.at(there), "/sign-out"))) };
      const extended = said(await ada.at(here).call("GET", "/get-session", { headers: { "x-test-now": `${Date.now() + 2 * DAY}` } }));
      return { ended, extended, afterwards: (await sessionOf(other))?.user.email };
    },
    peer: { ended: "200", extended: "200", afterwards: "ada@example.com" },
    portcullis: { ended: "200", extended: "401 FAILED_TO_GET_SESSION", afterwards: undefined },
  },
  {
    id: "storage-races",
    what: "two sign-ins at once",
    on: "redis",
    async alone(place) {
      const { here, there, way } = await startTwo(place);
      const first = here.browser();
      const { user } = (await post(first, "/sign-up/email", ADA)).json;
      const [second, third] = [here.browser(), there.browser()];
      const answers = [];
      way.before = { key: `active-sessions-${user.id}`, deed: async () => answers.push(said(await post(third, "/sign-in/email", ADA))) };
      answers.push(said(await post(second, "/sign-in/email", ADA)));
      const listed = (await first.call("GET", "/list-sessions")).json.length;
      // Who is not on the list is not ended with the others.
      await post(first, "/revoke-sessions");
      return { answers, listed, goOn: [Boolean(await sessionOf(second)), Boolean(await sessionOf(third))] };
    },
    peer: { answers: ["200", "200"], listed: 2, goOn: [false, true] },
    portcullis: { answers: ["200", "200"], listed: 3, goOn: [false, false] },
  },
  {
    id: "storage-token",
    what: "other keys in the place of a token",
    async alone({ t, kind, folder }) {
      const storage = await startStorage(t);
      const { url: webhook } = await startWebhook(t);
      const server = await startFor(t, kind, configuration(`sqlite:${path.join(folder, "token.db")}`, {
        secondaryStorage: storage.settings,
        emailAndPassword: { enabled: true, sendResetPassword: { webhook } },
        plugins: { bearer: {} },
      }));
      const ada = server.browser();
      const { token, user } = (await post(ada, "/sign-up/email", ADA)).json;
      await post(ada, "/request-password-reset", { email: ADA.email });
      const link = [...storage.map.keys()].find((key) => key.startsWith("verification:reset-password:"));
      storage.map.set("copied-for-something-else", storage.map.get(token));
      const seen = {};
      for (const [name, key] of [
        ["a session under another key", "copied-for-something-else"],
        ["a list of sessions", `active-sessions-${user.id}`],
        ["a mailed link", link],
      ]) {
        const read = await server.browser().call("GET", "/get-session", { headers: { authorization: `Bearer ${key}` } });
        const revoked = said(await post(ada, "/revoke-session", { token: key }));
        seen[name] = { read: said(read), as: read.json?.user?.email, revoked, left: storage.map.has(key) };
      }
      return seen;
    },
    peer: {
      "a session under another key": { read: "200", as: "ada@example.com", revoked: "200", left: false },
      "a list of sessions": { read: "500 FAILED_TO_GET_SESSION", as: undefined, revoked: "500", left: true },
      "a mailed link": { read: "500 FAILED_TO_GET_SESSION", as: undefined, revoked: "500", left: true },
    },
    portcullis: {
      "a session under another key": { read: "200 null", as: undefined, revoked: "200", left: true },
      "a list of sessions": { read: "200 null", as: undefined, revoked: "200", left: true },
      "a mailed link": { read: "200 null", as: undefined, revoked: "200", left: true },
    },
  },
  {
    id: "storage-reserve",
    what: "a place of its own for a code that was used",
    async alone({ t, kind, folder }) {
      const storage = await startStorage(t);
      const server = await startFor(t, kind, configuration(`sqlite:${path.join(folder, "reserve.db")}`, {
        secondaryStorage: storage.settings,
        plugins: { twoFactor: { skipVerificationOnEnable: true } },
      }));
      const ada = server.browser();
      await post(ada, "/sign-up/email", ADA);
      const { totpURI } = (await post(ada, "/two-factor/enable", { password: ADA.password })).json;
      const code = totp(totpURI);
      const answers = [];
      for (let times = 0; times < 2; times++) {
        const browser = server.browser();
        await post(browser, "/sign-in/email", ADA);
        answers.push(said(await post(browser, "/two-factor/verify-totp", { code })));
      }
      const places = [...storage.map.keys()].filter((key) => key.startsWith("verification:2fa-totp-")).length;
      // None of the plugins that are played here asks better-auth to.
      const reserve = kind === "peer" || selfCheck ? await reserveAtBetterAuth() : undefined;
      return { answers, places, reserve };
    },
    peer: {
      answers: ["200", "200"],
      places: 0,
      reserve: "reserveVerificationValue requires database-backed verification storage. Set verification.storeInDatabase to true for flows that reserve verification values.",
    },
    portcullis: { answers: ["200", "401 INVALID_CODE"], places: 1, reserve: undefined },
  },
  {
    id: "rate-limit-functions",
    what: "what a rule's function is asked, and what its answers do",
    async alone({ t, kind, folder }) {
      const seen = {};
      const usual = {
        "a rule": { result: { window: 10, max: 1 } },
        "a text": { result: "many" },
        "a rule without a maximum": { result: { window: 10 } },
      };
      for (const [name, error] of [["a refusal", REFUSED], ["a failure", BROKEN]]) {
        let outcome;
        const { url: webhook, calls } = await startWebhook(t, () => outcome);
        const server = await startMortal(t, kind, configuration(`sqlite:${path.join(folder, `${name}.db`)}`, {
          rateLimit: { enabled: true, customRules: { "/sign-in/email": { webhook } } },
        }));
        let place = 0;
        for (const [what, answer] of Object.entries({ ...usual, [name]: error })) {
          outcome = answer;
          place += 1;
          const headers = { "x-forwarded-for": `203.0.113.${place}` };
          const guess = () => post(server.browser(), "/sign-in/email", ADA, headers).then(({ status }) => status, () => "no answer");
          seen[what] = [await guess(), await guess(), await guess(), await guess()];
        }
        const [asked] = calls[0].args;
        seen.asked = asked.$type ?? asked;
      }
      return seen;
    },
    peer: {
      asked: "Request",
      "a rule": [401, 429, 429, 429],
      "a text": [401, 401, 401, 401],
      "a rule without a maximum": [401, 401, 401, 401],
      "a refusal": ["no answer", "no answer", "no answer", "no answer"],
      "a failure": ["no answer", "no answer", "no answer", "no answer"],
    },
    portcullis: {
      asked: { method: "POST", path: "/sign-in/email" },
      "a rule": [401, 429, 429, 429],
      "a text": [500, 500, 500, 500],
      "a rule without a maximum": [500, 500, 500, 500],
      "a refusal": [409, 409, 409, 409],
      "a failure": [500, 500, 500, 500],
    },
  },
  {
    id: "storage-away",
    what: "reading a session, signing in and out",
    async alone({ t, kind, folder }) {
      const storage = await startStorage(t);
      const server = await startFor(t, kind, configuration(`sqlite:${path.join(folder, "away.db")}`, { secondaryStorage: storage.settings }));
      const ada = server.browser();
      await post(ada, "/sign-up/email", ADA);
      storage.away = true;
      const how = (answer) => [said(answer), answer.headers["retry-after"]];
      const read = how(await ada.call("GET", "/get-session"));
      const signIn = how(await post(server.browser(), "/sign-in/email", ADA));
      const before = ada.at(server);
      const signOut = how(await post(ada, "/sign-out"));
      storage.away = false;
      return { read, signIn, signOut, cookies: ada.jar.names(), goesOn: (await sessionOf(before))?.user.email };
    },
    peer: {
      read: ["500 FAILED_TO_GET_SESSION", undefined],
      signIn: ["500", undefined],
      // The browser has forgotten a session that goes on.
      signOut: ["200", undefined],
      cookies: [],
      goesOn: "ada@example.com",
    },
    portcullis: {
      read: ["503 SERVICE_UNAVAILABLE", "1"],
      signIn: ["503 SERVICE_UNAVAILABLE", "1"],
      signOut: ["503 SERVICE_UNAVAILABLE", "1"],
      cookies: ["better-auth.session_token"],
      goesOn: "ada@example.com",
    },
  },
  {
    id: "storage-away",
    what: "guesses at a password, which are counted there",
    async alone({ t, kind, folder }) {
      const storage = await startStorage(t);
      const server = await startMortal(t, kind, configuration(`sqlite:${path.join(folder, "counted.db")}`, {
        secondaryStorage: storage.settings,
        rateLimit: { enabled: true },
      }));
      storage.away = true;
      const guess = () => post(server.browser(), "/sign-in/email", ADA).then(said, () => "no answer");
      return [await guess(), await guess(), await guess(), await guess()];
    },
    peer: ["no answer", "no answer", "no answer", "no answer"],
    portcullis: ["401 INVALID_EMAIL_OR_PASSWORD", "401 INVALID_EMAIL_OR_PASSWORD", "401 INVALID_EMAIL_OR_PASSWORD", "429"],
  },
];

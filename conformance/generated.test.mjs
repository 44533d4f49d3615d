// Random sequences of valid and invalid calls by several people, played to better-auth and to Portcullis under one of
// several configurations. A difference is shrunk to the shortest sequence that shows it, and printed with the seed
// that makes it again; a long run goes on after it, and fails at the end:
//
//   node generated.test.mjs --runs 2000             the long run
//   node generated.test.mjs --seed 7 --path 12:0    one that failed
//
// In the suite there are as many runs as fit into 25 seconds; GENERATED_RUNS says how many at most.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArgs } from "node:util";
import Database from "better-sqlite3";
import fc from "fast-check";
import { decodeJwt } from "jose";
import { openCompactCache, totp, wrongTotp } from "./codes.mjs";
import { endpointOf } from "./coverage.mjs";
import { everywhere, ruleFor } from "./deviations.mjs";
import { play, startPair } from "./play.mjs";
import { selfCheck, temporaryFolder } from "./target.mjs";
import { witnesses } from "./witnesses.mjs";

const { values: given } = parseArgs({
  options: { runs: { type: "string" }, seed: { type: "string" }, path: { type: "string" } },
  strict: false,
});
const runs = Number(given.runs ?? process.env.GENERATED_RUNS ?? 0);
const SECONDS = 25;
/** So many are played however slow the machine is. */
const LEAST = 12;

const PASSWORDS = ["analytical engine", "difference engine", "short", "", "x".repeat(129)];
const JUNK = [undefined, null, 7, true, "", [], {}, "not it", "ü", "x".repeat(300)];

// twoFactor stands first: what is only half a sign-in is none to the others.
const rooms = (hook, twoFactor = {}) => ({
  username: {}, twoFactor: { otpOptions: { sendOTP: hook }, totpOptions: { allowReuse: true }, ...twoFactor },
  jwt: {}, bearer: {}, anonymous: { onLinkAccount: hook }, multiSession: { maximumSessions: 3 },
});

const usual = (hook) => ({
  session: { additionalFields: { theme: { type: "string", required: false } } },
  emailAndPassword: { enabled: true, sendResetPassword: hook },
  emailVerification: { sendVerificationEmail: hook },
  // When expired rows are swept is each server's own (`purge`).
  verification: { disableCleanup: true },
  user: { changeEmail: { enabled: true }, deleteUser: { enabled: true } },
  plugins: rooms(hook),
});

/** Each sequence is played under one of these; the first is what a failure is shrunk to. */
const configurations = {
  "as usual": usual,
  "a cookie cache": (hook) => ({ ...usual(hook), session: { ...usual(hook).session, cookieCache: { enabled: true, maxAge: 60 } } }),
  "a signed cookie cache and much else": (hook) => ({
    ...usual(hook),
    session: { ...usual(hook).session, deferSessionRefresh: true, cookieCache: { enabled: true, maxAge: 300, strategy: "jwt" } },
    emailAndPassword: { enabled: true, sendResetPassword: hook, revokeSessionsOnPasswordReset: true },
    emailVerification: { sendVerificationEmail: hook, sendOnSignUp: true, autoSignInAfterVerification: true },
    verification: { disableCleanup: true, storeIdentifier: "hashed" },
    plugins: rooms(hook, { skipVerificationOnEnable: true, otpOptions: { sendOTP: hook, storeOTP: "hashed" }, backupCodeOptions: { storeBackupCodes: "plain" } }),
  }),
};

/** What has come out of the story so far, the same on both sides: people by number, and what was mailed. */
class World {
  constructor(stage, run) {
    Object.assign(this, { stage, run, sessions: [], sent: new Set(), uri: undefined });
    this.browsers = ["Ada", "Grace", "Eve"].map((name) => stage.browser(name));
  }

  email = (who) => `${["ada", "grace", "eve", "nobody"][who]}${this.run}@example.com`;
  username = (who) => `${["ada", "grace", "eve", "nobody"][who]}_${this.run}`;
  session = (index) => this.sessions[index % Math.max(1, this.sessions.length)] ?? "x".repeat(32);

  wait(seconds) {
    this.stage.later(seconds);
    // A cookie cache that is over comes from no browser: better-auth would throw the fresh one of a sign-in
    // away with it.
    for (const { jar } of this.browsers) jar.age("better-auth.session_data", seconds);
  }

  /** Remembers what an answer gives away. */
  learn(answer, browser) {
    const json = answer.text.startsWith("{") ? answer.json : {};
    // From the cookie: after the first code the two answer different tokens (`live-token`).
    const token = tokenIn(browser.jar.get("better-auth.session_token"));
    if (token && token !== browser.session) this.sessions.push(token);
    browser.session = token;
    if (json.totpURI) this.uri = json.totpURI;
    if (json.backupCodes) this.codes = json.backupCodes;
    return answer;
  }

  /** What was last mailed, the time before, and so on; `what` is a field of it. */
  mailed(what, index = 0) {
    const mails = this.stage.hook.calls.map((call) => call.args[0]).filter((mail) => mail[what]);
    return mails.at(-1 - (index % Math.max(1, mails.length)))?.[what];
  }

  /** The account of whoever uses this browser. */
  account(browser) {
    const session = this.stored("session", "token", browser.session);
    return (session && this.stored("account", "userId", session.userId)?.id) ?? "x".repeat(32);
  }

  /** The row of this table that has this value. */
  stored(table, column, value) {
    const database = new Database(this.stage.database.url.slice("sqlite:".length), { readonly: true });
    const row = database.prepare(`select * from ${table} where ${column} = ?`).get(value);
    database.close();
    return row;
  }

  /** Ends the links that reset this person's password. */
  endLinks(user) {
    this.endVerifications("identifier like 'reset-password:%' and value = ?", user);
  }

  /** Ends the links that are over. */
  sweepLinks() {
    const now = new Date(this.stage.now + 1000).toISOString();
    this.endVerifications("value in (select id from user) and expiresAt <= ? and identifier not like '2fa-%' and identifier not like 'trust-device-%'", now);
  }

  endVerifications(which, value) {
    const database = new Database(this.stage.database.url.slice("sqlite:".length), { timeout: 5000 });
    database.prepare(`delete from verification where ${which}`).run(value);
    database.close();
  }

  /** A session of this device, or of anybody. */
  onDevice(browser, index) {
    const own = browser.jar.names().filter((name) => name.includes("_multi-")).map((name) => tokenIn(browser.jar.get(name)));
    return index % 4 === 3 ? this.session(index) : (own[index % Math.max(1, own.length)] ?? this.session(index));
  }
}

const tokenIn = (cookie) => decodeURIComponent(cookie ?? "").split(".")[0];

/** Calls by name: `(world, browser, {whom, password, other, index})` makes route, body and query. */
const calls = {
  signUp: (w, b, c) => ["POST", "/sign-up/email", { name: "Somebody", email: w.email(c.whom), password: PASSWORDS[c.password], username: c.index % 2 ? w.username(c.whom) : undefined }],
  signIn: (w, b, c) => ["POST", "/sign-in/email", { email: w.email(c.whom), password: PASSWORDS[c.password], rememberMe: c.index % 3 !== 0 }],
  signInByName: (w, b, c) => ["POST", "/sign-in/username", { username: w.username(c.whom), password: PASSWORDS[c.password] }],
  visit: () => ["POST", "/sign-in/anonymous", {}],
  vanish: () => ["POST", "/delete-anonymous-user", {}],
  signOut: () => ["POST", "/sign-out", {}],
  getSession: (w, b, c) => ["GET", "/get-session", undefined, [undefined, { disableCookieCache: "true" }, { disableRefresh: "true" }][c.index % 3]],
  postSession: () => ["POST", "/get-session", {}],
  token: () => ["GET", "/token"],
  keys: () => ["GET", "/jwks"],
  listSessions: () => ["GET", "/list-sessions"],
  listAccounts: () => ["GET", "/list-accounts"],
  unlink: (w, b, c) => ["POST", "/unlink-account", { accountId: c.index % 3 ? w.account(b) : "x".repeat(32) }],
  updateUser: (w, b, c) => ["POST", "/update-user", { name: `Name ${c.index}` }],
  rename: (w, b, c) => ["POST", "/update-user", { username: w.username(c.whom) }],
  updateSession: (w, b, c) => ["POST", "/update-session", { theme: `theme ${c.index}` }],
  revokeSession: (w, b, c) => ["POST", "/revoke-session", { token: w.session(c.index) }],
  revokeOthers: () => ["POST", "/revoke-other-sessions", {}],
  revokeAll: () => ["POST", "/revoke-sessions", {}],
  changePassword: (w, b, c) => ["POST", "/change-password", { currentPassword: PASSWORDS[c.password], newPassword: PASSWORDS[c.other], revokeOtherSessions: c.index % 2 === 0 }],
  verifyPassword: (w, b, c) => ["POST", "/verify-password", { password: PASSWORDS[c.password] }],
  isFree: (w, b, c) => ["POST", "/is-username-available", { username: w.username(c.whom) }],
  forget: (w, b, c) => ["POST", "/request-password-reset", { email: w.email(c.whom), redirectTo: "/new" }],
  openReset: (w, b, c) => ["GET", `/reset-password/${w.mailed("token", c.index) ?? "x".repeat(24)}`, undefined, { callbackURL: "/new" }],
  reset: (w, b, c) => ["POST", "/reset-password", { token: w.mailed("token", c.index) ?? "x".repeat(24), newPassword: PASSWORDS[c.other] }],
  askProof: (w, b, c) => ["POST", "/send-verification-email", { email: w.email(c.whom) }],
  prove: (w, b, c) => ["GET", "/verify-email", undefined, { token: w.mailed("token", c.index) ?? "x".repeat(24), callbackURL: "/welcome" }],
  move: (w, b, c) => ["POST", "/change-email", { newEmail: w.email(c.whom) }],
  leave: (w, b, c) => ["POST", "/delete-user", c.index % 2 ? { password: PASSWORDS[c.password] } : {}],
  enable: (w, b, c) => ["POST", "/two-factor/enable", { password: PASSWORDS[c.password], method: c.index % 4 === 3 ? "otp" : "totp" }],
  disable: (w, b, c) => ["POST", "/two-factor/disable", { password: PASSWORDS[c.password] }],
  showUri: (w, b, c) => ["POST", "/two-factor/get-totp-uri", { password: PASSWORDS[c.password] }],
  newCodes: (w, b, c) => ["POST", "/two-factor/generate-backup-codes", { password: PASSWORDS[c.password] }],
  code: (w, b, c) => ["POST", "/two-factor/verify-totp", { code: w.uri ? [totp, totp, wrongTotp][c.index % 3](w.uri, w.stage.now + 1000) : "000000", trustDevice: c.index % 4 === 0 }],
  backup: (w, b, c) => ["POST", "/two-factor/verify-backup-code", { code: w.codes?.[c.index % 10] ?? "aaaaa-aaaaa", disableSession: c.index % 5 === 0 }],
  send: () => ["POST", "/two-factor/send-otp", {}],
  sent: (w, b, c) => ["POST", "/two-factor/verify-otp", { code: (c.index % 3 < 2 && w.mailed("otp", c.index % 2)) || "not it", trustDevice: c.index % 4 === 0 }],
  listDevice: () => ["GET", "/multi-session/list-device-sessions"],
  setActive: (w, b, c) => ["POST", "/multi-session/set-active", { sessionToken: w.onDevice(b, c.index) }],
  revokeDevice: (w, b, c) => ["POST", "/multi-session/revoke", { sessionToken: w.onDevice(b, c.index) }],
  wait: (w, b, c) => w.wait([1, 45, 3600, 90_000, 700_000][c.index % 5]),
};

/** Fields in which better-auth does not look at the type (`typed-input` in COMPATIBILITY.md). */
const UNTYPED = ["name", "image", "theme", "username"];

/** Lists whose order is chance. */
const ORDER = {
  "/list-sessions": (session) => session.createdAt + session.token,
  "/multi-session/list-device-sessions": ({ session }) => session.createdAt + session.token,
};

/** These take half a second, which hides whether there is somebody to mail. */
const SLOW = ["forget", "askProof", "move"];

/** Once in so many calls; otherwise null. */
const rarely = (times, arbitrary) => fc.oneof({ weight: times - 1, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });

const command = fc.record({
  who: fc.nat(2),
  call: fc.constantFrom(...Object.keys(calls).flatMap((name) => (SLOW.includes(name) ? [name] : [name, name, name]))),
  // Most often oneself.
  whom: fc.oneof({ weight: 1, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat(3) }),
  password: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.nat(PASSWORDS.length - 1)),
  other: fc.oneof({ weight: 3, arbitrary: fc.nat(1) }, fc.nat(PASSWORDS.length - 1)),
  index: fc.nat(11),
  spoil: rarely(10, fc.record({ field: fc.nat(3), junk: fc.nat(JUNK.length - 1) })),
  origin: rarely(20, fc.constantFrom("https://evil.example", "null", undefined)),
  bearer: rarely(20, fc.nat(3)),
}).map(({ whom, origin, ...rest }) => ({ ...rest, whom: whom ?? rest.who, ...(origin !== null && { origin }) }));

/** The link of a changed address: better-auth 1.7.6 signs in whoever follows it (`mailed-links-name-users`). */
const changesAddress = (token) => typeof token === "string" && token.includes(".") && `${Buffer.from(token.split(".")[1], "base64url")}`.includes("updateTo");

/** Does the browser's cookie cache say what is in the database? Without one it does. */
function upToDate(world, { jar }) {
  const cookie = decodeURIComponent(jar.get("better-auth.session_data") ?? "");
  if (cookie === "") return true;
  const { session, user } = cookie.includes(".") ? decodeJwt(cookie) : openCompactCache(cookie);
  // SQLite has 1 for true.
  const same = (row, cached) => row && Object.keys(cached).every((key) => (row[key] ?? null) == cached[key]);
  return same(world.stored("session", "id", session.id), session) && same(world.stored("user", "id", user.id), user);
}

/** Is better-auth's answer to this call of a session that is over its own? Then it is made without the session. */
function leftAlone(world, route, token) {
  const session = world.stored("session", "token", token);
  const expired = session && Date.parse(session.expiresAt) <= world.stage.now + 1000;
  // `sign-in-after-the-end`, `no-token-after-the-end`
  return /^\/(sign-in|sign-up|verify-email)/.test(route) ? !session || expired : route === "/get-session" && expired;
}

/** Whose password or address this call is about to change. */
function changed(world, route, body, token) {
  if (route === "/reset-password") return world.stored("verification", "identifier", `reset-password:${body.token}`)?.value;
  return ["/change-password", "/change-email"].includes(route) ? world.stored("session", "token", token)?.userId : undefined;
}

/** What the cookie cache may answer for, even when it is out of date. */
const CACHED = ["/get-session", "/list-sessions", "/list-accounts", "/multi-session/list-device-sessions"];

async function perform(world, one) {
  const browser = world.browsers[one.who];
  const made = calls[one.call](world, browser, one);
  if (!made) return;
  const [method, route, body, query] = made;
  if (changesAddress(query?.token)) return;
  // Which of several sessions follows the one that ends is chance with better-auth: the order of random tokens.
  const left = browser.jar.names().filter((name) => name.includes("_multi-")).length - 1;
  if (route === "/multi-session/revoke" && body.sessionToken === browser.session && left > 1) return;
  // `revoked-is-401`: elsewhere only one of the two would believe it.
  const stale = !upToDate(world, browser);
  if (!CACHED.includes(route) && stale) browser.jar.delete("better-auth.session_data");
  const fields = Object.keys(body ?? {}).filter((field) => !UNTYPED.includes(field));
  const spoilt = one.spoil && fields.length > 0 && fields[one.spoil.field % fields.length];
  // `username-in-turn`: better-auth looks at the name before it knows whose the token is.
  const bearer = typeof one.bearer === "number" && one.call !== "rename" ? world.session(one.bearer) : undefined;
  const over = leftAlone(world, route, bearer ?? browser.session);
  if (over) for (const name of ["session_token", "session_data"]) browser.jar.delete(`better-auth.${name}`);
  // `one-sent-code`: only one of the two would keep the older one.
  const asking = bearer ?? (browser.session || browser.jar.get("better-auth.two_factor"));
  if (one.call === "send" && world.sent.has(asking)) return;
  if (one.call === "send") world.sent.add(asking);
  const byBearer = bearer && !over && { authorization: `Bearer ${bearer}`, cookie: undefined };
  const own = browser.session;
  const whose = changed(world, route, body, bearer ?? own);
  const answer = world.learn(
    // What a bearer is answered is not for the browser's jar.
    await (byBearer ? browser.copy(browser.name) : browser).call(method, route, {
      query,
      body: spoilt ? { ...body, [spoilt]: JUNK[one.spoil.junk] } : body,
      headers: { ...("origin" in one && { origin: one.origin }), ...byBearer },
      sortBy: ORDER[route],
    }),
    browser,
  );
  // `revoke-clears-cookies`: from here on the browsers would know different things.
  if (/^\/revoke-sessions?$/.test(route) && answer.status === 200 && (body.token ?? own) === own) browser.jar.clear();
  // `mailed-links-once`: only one of the two would keep them.
  if (whose && answer.status === 200) world.endLinks(whose);
  // `revoked-is-401`: only one of the two has made it new.
  if (stale && !byBearer && CACHED.includes(route) && route !== "/get-session") browser.jar.delete("better-auth.session_data");
  // `remembered-again`: only one of the two has told the browser.
  const lasting = answer.setCookies.some((text) => /^better-auth\.session_token=[^;].*; Max-Age=/.test(text));
  const half = answer.text.includes('"twoFactorRedirect":true') && body.rememberMe !== false;
  if (/^\/sign-(in|up)\//.test(route) && !byBearer && (lasting || half)) browser.jar.delete("better-auth.dont_remember");
  // `mailed-links-of-others`: only one of the two would keep it.
  if (route === "/reset-password" && answer.status >= 400) world.sweepLinks();
  // `fresh-cache`: the cached user differs by its date.
  if (route === "/verify-email") browser.jar.delete("better-auth.session_data");
  // `username-in-turn`: only one of the two may have looked at the session, and have ended a dead one's cookies.
  if (["/update-user", "/sign-up/email"].includes(route) && answer.status >= 400 && "username" in body) browser.jar.clear();
}

/** A command as it is read. */
const told = (one) => `${["Ada", "Grace", "Eve"][one.who]}: ${JSON.stringify(one)}`;

/** Both servers of each configuration; new ones now and then, because after each sequence every row is read. */
class Houses {
  #open = new Map();

  constructor(t, folder) {
    Object.assign(this, { t, folder, built: 0 });
    t.after(() => Promise.all([...this.#open.values()].map((house) => house.close())));
  }

  async pair(name) {
    const house = this.#open.get(name);
    if (house && (house.played += 1) < 200) return house.pair;
    await house?.close();
    const cleanUp = [];
    const close = async () => {
      for (const f of cleanUp) await f();
    };
    const context = { after: (f) => cleanUp.unshift(f) };
    const pair = await startPair(context, this.folder, `house ${(this.built += 1)}`, { config: configurations[name] });
    this.#open.set(name, { pair, close, played: 1 });
    return pair;
  }
}

/** Plays a sequence after some people have signed up; what differed, and what was played. */
async function playSequence(houses, run, { configuration, people, commands }) {
  return play(await houses.pair(configuration), run, async (stage) => {
    const world = new World(stage, run);
    for (let who = 0; who < people; who += 1) await perform(world, { call: "signUp", who, whom: who, password: 0, index: 1 });
    // Of three people the first has a second factor.
    if (people === 3) for (const call of ["enable", "code"]) await perform(world, { call, who: 0, password: 0, index: 0 });
    for (const one of commands) await perform(world, one);
    await perform(world, { call: "getSession", who: 0, index: 0 });
  });
}

/** What differed, without who did it and when. */
const kindOf = (found) => JSON.stringify([...new Set(found.map(({ path }) => path.replace(/^.*: (?=GET|POST)/, "").replace(/\d+/g, "#")))]);

/** Rows of deviations.mjs that only sequences show. */
const shownHere = everywhere.filter((row) => row.seenIn === "generated.test.mjs");

test("each difference that only sequences show is still shown by one", { skip: runs > 0 || given.path ? "not part of a long run" : false }, async (t) => {
  const houses = new Houses(t, await temporaryFolder(t));
  const seen = new Set();
  for (const [index, witness] of witnesses.entries()) {
    const { found } = await playSequence(houses, index + 1, witness);
    for (const one of found) {
      const rule = ruleFor("generated", one);
      assert.ok(rule, `${witness.id}: ${JSON.stringify(one)}`);
      seen.add(rule);
    }
  }
  for (const row of shownHere) {
    assert.ok(seen.has(row), `${row.id} ${row.path}: no sequence of witnesses.mjs shows it any more. If a long run does, take that one; if not, mend deviations.mjs and COMPATIBILITY.md`);
  }
});

test("random sequences", async (t) => {
  const houses = new Houses(t, await temporaryFolder(t));
  // As part of the suite always the same sequences, as many of them as there is time for, so that a change is to
  // blame for what it breaks; the long run draws new ones.
  const seed = given.seed ? Number(given.seed) : runs ? Date.now() & 0x7fffffff : 20_261_121;
  console.log(`seed ${seed}`);
  let run = 0;
  const end = runs ? Infinity : Date.now() + SECONDS * 1000;
  let deadline = end;
  /** What the last sequence that failed showed; the sequences that follow it are shorter ones of the same. */
  let latest;
  /** What has been printed already; a long run does not stop for it again. */
  const printed = new Set();
  /** What was played, by endpoint: a generator that is always refused would prove little. */
  const seen = {};
  /** The shortest sequence that shows a difference that is listed, by its row in deviations.mjs. */
  const excused = new Map();
  // Most sequences begin with people who are there; in an empty house nearly everything is refused.
  const peopled = fc.oneof({ weight: 1, arbitrary: fc.constant(0) }, { weight: 4, arbitrary: fc.constantFrom(1, 2, 3) });
  const sequence = fc.array(command, { minLength: 1, maxLength: 14 });
  const configured = fc.constantFrom(...Object.keys(configurations));
  const property = fc.asyncProperty(configured, peopled, sequence, async (configuration, people, commands) => {
    // What is left of the runs passes unplayed when the time is over; a failure is shrunk for a minute.
    if (Date.now() > deadline && (latest || run >= LEAST)) return;
    run += 1;
    const { found, steps } = await playSequence(houses, run, { configuration, people, commands });
    for (const { method, route, answer } of steps) {
      const name = endpointOf(method, route);
      const count = (seen[name] ??= { accepted: 0, refused: 0 });
      count[answer.status < 400 ? "accepted" : "refused"] += 1;
    }
    for (const one of found) {
      const rule = ruleFor("generated", one);
      if (rule && commands.length < (excused.get(rule)?.commands.length ?? Infinity)) excused.set(rule, { configuration, people, commands });
    }
    const left = selfCheck ? found : found.filter((one) => !ruleFor("generated", one));
    if (left.length === 0 || printed.has(kindOf(left))) return;
    if (!latest) deadline = Date.now() + 60_000;
    latest = left;
    assert.fail(`${configuration}: ${people} signed up, then\n${commands.map(told).join("\n")}\n${JSON.stringify(left, null, 1)}`);
  });
  for (let todo = runs || 60; todo > 0; ) {
    const drawn = seed + printed.size;
    const outcome = await fc.check(property, { seed: drawn, ...(given.path && printed.size === 0 && { path: given.path }), numRuns: todo });
    todo = runs ? todo - outcome.numRuns : 0;
    if (!outcome.failed) continue;
    if (!latest) throw outcome.errorInstance;
    console.log(`the two differ; to play it again: node generated.test.mjs --seed ${drawn} --path ${outcome.counterexamplePath}\n${outcome.errorInstance.message}`);
    printed.add(kindOf(latest));
    [latest, deadline] = [undefined, end];
  }
  assert.equal(printed.size, 0, "the two differ, as printed above");
  assert.ok(given.path || run >= Math.min(LEAST, runs || LEAST), `only ${run} sequences were played`);
  const total = Object.values(seen).reduce((sum, count) => sum + count.accepted + count.refused, 0);
  console.log(`${run} sequences, ${total} calls, no difference`);
  // What witnesses.mjs has of it.
  for (const [row, witness] of runs ? excused : []) console.log(`  listed: ${JSON.stringify({ id: row.id, ...witness })}`);
  for (const [name, { accepted, refused }] of Object.entries(seen).sort()) console.log(`  ${name}: ${accepted} accepted, ${refused} refused`);
  for (const name of run > 500 ? Object.keys(seen) : []) assert.ok(seen[name].accepted > 0, `${name} was always refused`);
});

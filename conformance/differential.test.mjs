// The same requests to better-auth and to Portcullis, fresh databases, and no difference but chance and
// time: status, headers, body, and Set-Cookie names, values and attributes in their order.
//
// A row of `endpoints` makes a family of cases; `single` adds what only one endpoint has.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { totp, wrongTotp } from "./codes.mjs";
import { Comparison } from "./compare.mjs";
import { deviations } from "./deviations.mjs";
import { configuration, ORIGIN, raw, selfCheck, start, startWebhook, temporaryFolder } from "./target.mjs";

const PASSWORD = "correct horse battery";
const OTHER_PASSWORD = "another good one";

const settings = {
  plain: {},
  // The same with a cookie cache, for the routes that write cookies.
  cached: { session: { cookieCache: { enabled: true, maxAge: 300 } } },
};

function config(databaseUrl, hookUrl, { session, ...over }) {
  return configuration(databaseUrl, {
    session: { ...session, additionalFields: { theme: { type: "string", required: false } } },
    user: {
      additionalFields: {
        nickname: { type: "string", required: false },
        plan: { type: "string", required: false, input: false, defaultValue: "free" },
      },
    },
    plugins: {
      username: {},
      jwt: {},
      bearer: {},
      multiSession: {},
      twoFactor: { otpOptions: { sendOTP: { webhook: hookUrl } } },
    },
    ...over,
  });
}

// ---- who asks --------------------------------------------------------------------------------------

/** Calls that set the stage must succeed. */
async function staged(promise) {
  const answer = await promise;
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

/** Actors by name; each builds on the one before and ends as `{browser, …facts}`. */
const actors = {
  async nobody({ server, number }) {
    return { browser: server.browser(), email: `new${number}@example.com`, username: `New_${number}` };
  },
  async member({ server, number }) {
    const browser = server.browser();
    const facts = { email: `m${number}@example.com`, username: `Member_${number}` };
    const body = { name: "Member", password: PASSWORD, ...facts };
    const { token, user } = await staged(browser.call("POST", "/sign-up/email", { body }));
    return { browser, token, user, ...facts };
  },
  /** Signed up, but asking from another browser. */
  async known(stage) {
    return { ...(await actors.member(stage)), browser: stage.server.browser() };
  },
  /** Three sessions in three browsers. */
  async travelling(stage) {
    const member = await actors.member(stage);
    for (const key of ["second", "third"]) {
      member[key] = stage.server.browser();
      const body = { email: member.email, password: PASSWORD };
      member[`${key}Token`] = (await staged(member[key].call("POST", "/sign-in/email", { body }))).token;
    }
    return member;
  },
  /** Two people in one browser, the second one active. */
  async shared(stage) {
    const member = await actors.member(stage);
    const body = { name: "Second", email: `s${stage.number}@example.com`, password: PASSWORD };
    const second = await staged(member.browser.call("POST", "/sign-up/email", { body }));
    return { ...member, secondToken: second.token };
  },
  /** TOTP asked for, not yet proven. */
  async enabling(stage) {
    const member = await actors.member(stage);
    const body = { password: PASSWORD };
    const { totpURI, backupCodes } = await staged(member.browser.call("POST", "/two-factor/enable", { body }));
    return { ...member, totpURI, backupCode: backupCodes[0] };
  },
  async secured(stage) {
    const member = await actors.enabling(stage);
    const body = { code: totp(member.totpURI) };
    await staged(member.browser.call("POST", "/two-factor/verify-totp", { body }));
    return member;
  },
  /** The password given in another browser, the second factor not. */
  async pending(stage) {
    const member = await actors.secured(stage);
    const browser = stage.server.browser();
    await staged(browser.call("POST", "/sign-in/email", { body: { email: member.email, password: PASSWORD } }));
    return { ...member, browser };
  },
  async texted(stage) {
    const member = await actors.pending(stage);
    await staged(member.browser.call("POST", "/two-factor/send-otp", { body: {} }));
    return { ...member, otp: stage.hook.calls.at(-1).args[0].otp };
  },
};

// ---- what is asked ---------------------------------------------------------------------------------

/** route, who asks, the body, which of its fields are required, and better-auth's status when not 200. */
const endpoints = [
  { route: "POST /sign-up/email", as: "nobody", cached: true, required: ["name", "email", "password"],
    body: (w) => ({ name: "New", email: w.email, password: PASSWORD, rememberMe: true, nickname: "nick" }) },
  { route: "POST /sign-in/email", as: "known", open: true, cached: true, required: ["email", "password"],
    body: (w) => ({ email: w.email, password: PASSWORD, rememberMe: true }) },
  { route: "POST /sign-in/username", as: "known", open: true, cached: true, required: ["username", "password"],
    body: (w) => ({ username: w.username, password: PASSWORD, rememberMe: true }) },
  { route: "POST /is-username-available", as: "nobody", required: ["username"], body: () => ({ username: "somebody_else" }) },
  { route: "POST /sign-out", as: "member", open: true, cached: true, body: () => ({}) },
  { route: "GET /get-session", as: "member", open: true, cached: true },
  { route: "POST /get-session", as: "member", open: true, status: 405, body: () => ({}) },
  { route: "GET /list-sessions", as: "travelling" },
  { route: "POST /revoke-session", as: "travelling", required: ["token"], body: (w) => ({ token: w.secondToken }) },
  { route: "POST /revoke-sessions", as: "travelling", cached: true, body: () => ({}) },
  { route: "POST /revoke-other-sessions", as: "travelling", body: () => ({}) },
  { route: "POST /update-session", as: "member", cached: true, body: () => ({ theme: "dark" }) },
  { route: "POST /update-user", as: "member", cached: true,
    body: () => ({ name: "Renamed", image: "https://example.com/i.png", nickname: "nick" }) },
  { route: "POST /change-password", as: "member", cached: true, required: ["newPassword", "currentPassword"],
    body: () => ({ newPassword: OTHER_PASSWORD, currentPassword: PASSWORD, revokeOtherSessions: true }) },
  { route: "POST /verify-password", as: "member", required: ["password"], body: () => ({ password: PASSWORD }) },
  { route: "GET /list-accounts", as: "member" },
  { route: "POST /unlink-account", as: "member", status: 400, required: ["accountId"], body: () => ({ accountId: "not-an-account" }) },
  { route: "GET /ok", as: "nobody" },
  { route: "GET /error", as: "nobody" },
  { route: "GET /token", as: "member" },
  { route: "GET /jwks", as: "nobody" },
  // Their order is that of random tokens in an index: chance.
  { route: "GET /multi-session/list-device-sessions", as: "shared", open: true, sortBy: (one) => one.user.email },
  { route: "POST /multi-session/set-active", as: "shared", open: true, cached: true, required: ["sessionToken"],
    body: (w) => ({ sessionToken: w.token }) },
  { route: "POST /multi-session/revoke", as: "shared", cached: true, required: ["sessionToken"],
    body: (w) => ({ sessionToken: w.secondToken }) },
  { route: "POST /two-factor/enable", as: "member", required: ["password"],
    body: () => ({ password: PASSWORD, method: "totp", issuer: "Somebody" }) },
  { route: "POST /two-factor/disable", as: "secured", cached: true, required: ["password"], body: () => ({ password: PASSWORD }) },
  { route: "POST /two-factor/get-totp-uri", as: "secured", required: ["password"], body: () => ({ password: PASSWORD }) },
  { route: "POST /two-factor/verify-totp", as: "pending", cached: true, required: ["code"],
    body: (w) => ({ code: totp(w.totpURI), trustDevice: true }) },
  { route: "POST /two-factor/send-otp", as: "pending", body: () => ({ trustDevice: true }) },
  { route: "POST /two-factor/verify-otp", as: "texted", cached: true, required: ["code"],
    body: (w) => ({ code: w.otp, trustDevice: false }) },
  { route: "POST /two-factor/verify-backup-code", as: "pending", cached: true, required: ["code"],
    body: (w) => ({ code: w.backupCode, disableSession: false, trustDevice: false }) },
  { route: "POST /two-factor/generate-backup-codes", as: "secured", required: ["password"], body: () => ({ password: PASSWORD }) },
];

/** Name, who asks, route, and what is special: body, query, headers, text, a lone browser. */
const single = [
  ["a taken address", "known", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email.toUpperCase(), password: PASSWORD }) }],
  ["a taken username", "known", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: "eve@example.com", password: PASSWORD, username: w.username }) }],
  ["a short username", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, username: "ab" }) }],
  ["a long username", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, username: "a".repeat(31) }) }],
  ["a username with a blank", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, username: "eve eve" }) }],
  ["a display name alone", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, displayUsername: "Eve_The_First" }) }],
  ["not an address", "nobody", "POST /sign-up/email", { body: () => ({ name: "Eve", email: "eve at example", password: PASSWORD }) }],
  ["an empty name", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "", email: w.email, password: PASSWORD }) }],
  ["an empty password", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: "" }) }],
  ["a short password", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: "1234567" }) }],
  ["a long password", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: "x".repeat(129) }) }],
  ["a password counted in UTF-16 units", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: "🗝🗝🗝🗝" }) }],
  ["not to be remembered", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, rememberMe: false }) }],
  ["an image", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, image: "https://example.com/i.png" }) }],
  ["a field that is not for clients", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, plan: "gold" }) }],
  ["proving one's own address", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, emailVerified: true }) }],
  ["a callback elsewhere", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, callbackURL: "https://evil.example/x" }) }],
  ["a form", "nobody", "POST /sign-up/email", { headers: { "content-type": "application/x-www-form-urlencoded" }, text: (w) => `${new URLSearchParams({ name: "Eve", email: w.email, password: PASSWORD })}` }],
  ["a wrong password", "known", "POST /sign-in/email", { body: (w) => ({ email: w.email, password: "wrong horse battery" }) }],
  ["an unknown address", "nobody", "POST /sign-in/email", { body: () => ({ email: "nobody@example.com", password: PASSWORD }) }],
  ["another case", "known", "POST /sign-in/email", { body: (w) => ({ email: w.email.toUpperCase(), password: PASSWORD }) }],
  ["not an address", "nobody", "POST /sign-in/email", { body: () => ({ email: "eve at example", password: PASSWORD }) }],
  ["not to be remembered", "known", "POST /sign-in/email", { body: (w) => ({ email: w.email, password: PASSWORD, rememberMe: false }) }],
  ["a callback", "known", "POST /sign-in/email", { body: (w) => ({ email: w.email, password: PASSWORD, callbackURL: "/dashboard?x=1" }) }],
  ["a callback elsewhere", "known", "POST /sign-in/email", { body: (w) => ({ email: w.email, password: PASSWORD, callbackURL: "https://evil.example" }) }],
  ["a callback that hides its host", "known", "POST /sign-in/email", { body: (w) => ({ email: w.email, password: PASSWORD, callbackURL: "/\\evil.example" }) }],
  ["while signed in already", "member", "POST /sign-in/email", { body: (w) => ({ email: w.email, password: PASSWORD }) }],
  ["a form", "known", "POST /sign-in/email", { headers: { "content-type": "application/x-www-form-urlencoded" }, text: (w) => `${new URLSearchParams({ email: w.email, password: PASSWORD })}` }],
  ["a navigation from elsewhere", "known", "POST /sign-in/email", { headers: { origin: "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" }, body: (w) => ({ email: w.email, password: PASSWORD }) }],
  ["an origin elsewhere, without cookies", "known", "POST /sign-in/email", { headers: { origin: "https://evil.example" }, body: (w) => ({ email: w.email, password: PASSWORD }) }],
  ["no origin and no cookies", "known", "POST /sign-in/email", { headers: { origin: undefined }, body: (w) => ({ email: w.email, password: PASSWORD }) }],
  ["half a sign-in", "secured", "POST /sign-in/email", { browser: "new", body: (w) => ({ email: w.email, password: PASSWORD }) }],
  ["half a sign-in that is not to be remembered", "secured", "POST /sign-in/email", { browser: "new", body: (w) => ({ email: w.email, password: PASSWORD, rememberMe: false }) }],
  ["a wrong password", "known", "POST /sign-in/username", { body: (w) => ({ username: w.username, password: "wrong horse battery" }) }],
  ["an unknown name", "nobody", "POST /sign-in/username", { body: () => ({ username: "nobody_here", password: PASSWORD }) }],
  ["too short", "nobody", "POST /sign-in/username", { body: () => ({ username: "ab", password: PASSWORD }) }],
  ["not a username", "nobody", "POST /sign-in/username", { body: () => ({ username: "no body", password: PASSWORD }) }],
  ["a callback", "known", "POST /sign-in/username", { body: (w) => ({ username: w.username, password: PASSWORD, callbackURL: "/dashboard" }) }],
  ["a taken one", "known", "POST /is-username-available", { body: (w) => ({ username: w.username.toUpperCase() }) }],
  ["too short", "nobody", "POST /is-username-available", { body: () => ({ username: "ab" }) }],
  ["not a username", "nobody", "POST /is-username-available", { body: () => ({ username: "no body" }) }],
  ["past the cookie cache", "member", "GET /get-session", { query: { disableCookieCache: "true" } }],
  ["a forged cookie", "nobody", "GET /get-session", { headers: { cookie: `better-auth.session_token=${"x".repeat(32)}.${"A".repeat(43)}%3D` } }],
  ["a cookie without signature", "nobody", "GET /get-session", { headers: { cookie: "better-auth.session_token=abc" } }],
  ["a bearer token", "known", "GET /get-session", { headers: (w) => ({ authorization: `Bearer ${w.token}` }) }],
  ["an unknown bearer token", "nobody", "GET /get-session", { headers: { authorization: `Bearer ${"x".repeat(32)}` } }],
  ["an origin elsewhere", "member", "POST /update-user", { headers: { origin: "https://evil.example" }, body: () => ({ name: "Mallory" }) }],
  ["no origin", "member", "POST /update-user", { headers: { origin: undefined }, body: () => ({ name: "Mallory" }) }],
  ["the origin null", "member", "POST /update-user", { headers: { origin: "null" }, body: () => ({ name: "Mallory" }) }],
  ["a referer instead of an origin", "member", "POST /update-user", { headers: { origin: undefined, referer: `${ORIGIN}/page` }, body: () => ({ name: "Renamed" }) }],
  ["the address", "member", "POST /update-user", { body: () => ({ email: "other@example.com" }) }],
  ["nothing", "member", "POST /update-user", { body: () => ({}) }],
  ["a field that is not for clients", "member", "POST /update-user", { body: () => ({ plan: "gold" }) }],
  ["no image any more", "member", "POST /update-user", { body: () => ({ image: null }) }],
  ["a username", "member", "POST /update-user", { body: () => ({ username: "Brand_New" }) }],
  ["a list", "member", "POST /update-user", { text: () => "[]", headers: { "content-type": "application/json" } }],
  ["nothing", "member", "POST /update-session", { body: () => ({}) }],
  ["a core field", "member", "POST /update-session", { body: () => ({ userId: "x" }) }],
  ["a wrong password", "member", "POST /change-password", { body: () => ({ currentPassword: "wrong horse battery", newPassword: OTHER_PASSWORD }) }],
  ["a short password", "member", "POST /change-password", { body: () => ({ currentPassword: PASSWORD, newPassword: "short" }) }],
  ["other sessions stay", "travelling", "POST /change-password", { body: () => ({ currentPassword: PASSWORD, newPassword: OTHER_PASSWORD }) }],
  ["a wrong password", "member", "POST /verify-password", { body: () => ({ password: "wrong horse battery" }) }],
  ["one's own session", "travelling", "POST /revoke-session", { body: (w) => ({ token: w.token }) }],
  ["an unknown session", "member", "POST /revoke-session", { body: () => ({ token: "x".repeat(32) }) }],
  ["an error and its description", "nobody", "GET /error", { query: { error: "access_denied", error_description: "No <b>way</b>" } }],
  ["an error that is markup", "nobody", "GET /error", { query: { error: "<script>alert(1)</script>" } }],
  ["an unknown token", "shared", "POST /multi-session/set-active", { body: () => ({ sessionToken: "x".repeat(32) }) }],
  ["the other one", "shared", "POST /multi-session/revoke", { body: (w) => ({ sessionToken: w.token }) }],
  ["an unknown token", "shared", "POST /multi-session/revoke", { body: () => ({ sessionToken: "x".repeat(32) }) }],
  ["two people", "shared", "POST /sign-out", { body: () => ({}) }],
  ["without a body", "member", "POST /sign-out", {}],
  ["a wrong password", "member", "POST /two-factor/enable", { body: () => ({ password: "wrong horse battery" }) }],
  ["an unknown method", "member", "POST /two-factor/enable", { body: () => ({ password: PASSWORD, method: "pigeon" }) }],
  ["a code by mail", "member", "POST /two-factor/enable", { body: () => ({ password: PASSWORD, method: "otp" }) }],
  ["on already", "secured", "POST /two-factor/enable", { body: () => ({ password: PASSWORD }) }],
  ["a wrong password", "secured", "POST /two-factor/disable", { body: () => ({ password: "wrong horse battery" }) }],
  ["never on", "member", "POST /two-factor/get-totp-uri", { body: () => ({ password: PASSWORD }) }],
  ["the first code", "enabling", "POST /two-factor/verify-totp", { body: (w) => ({ code: totp(w.totpURI) }) }],
  ["a wrong first code", "enabling", "POST /two-factor/verify-totp", { body: (w) => ({ code: wrongTotp(w.totpURI) }) }],
  ["a wrong code", "pending", "POST /two-factor/verify-totp", { body: (w) => ({ code: wrongTotp(w.totpURI) }) }],
  ["never on", "member", "POST /two-factor/verify-totp", { body: () => ({ code: "123456" }) }],
  ["not a code", "pending", "POST /two-factor/verify-totp", { body: () => ({ code: "abc" }) }],
  ["a wrong code", "texted", "POST /two-factor/verify-otp", { body: (w) => ({ code: w.otp === "000000" ? "111111" : "000000" }) }],
  ["none sent", "pending", "POST /two-factor/verify-otp", { body: () => ({ code: "000000" }) }],
  ["a wrong code", "pending", "POST /two-factor/verify-backup-code", { body: () => ({ code: "aaaaa-aaaaa" }) }],
  ["signed in, and no new session", "secured", "POST /two-factor/verify-backup-code", { body: (w) => ({ code: w.backupCode, disableSession: true }) }],
  ["never on", "member", "POST /two-factor/generate-backup-codes", { body: () => ({ password: PASSWORD }) }],
  ["a wrong password", "secured", "POST /two-factor/generate-backup-codes", { body: () => ({ password: "wrong horse battery" }) }],
  ["an unknown route", "nobody", "GET /no-such-thing", {}],
  ["a slash too many", "nobody", "GET /ok/", {}],
  ["two slashes", "nobody", "GET //ok", {}],
  ["only the head", "nobody", "HEAD /ok", {}],
  ["a preflight", "nobody", "OPTIONS /sign-in/email", { headers: { "access-control-request-method": "POST" } }],
];

/** All cases: `{name, as, route, body?, text?, query?, headers?, browser?, settings, shared?, status?}`. */
function cases() {
  const all = [];
  for (const { route, as, body, required = [], open = false, cached = false, status = 200, sortBy } of endpoints) {
    const add = (what, over = {}) => all.push({ name: `${route}: ${what}`, as, route, body, settings: "plain", sortBy, ...over });
    const json = { "content-type": "application/json" };
    add("as it should be", { status });
    if (cached) add("as it should be, with a cookie cache", { status, settings: "cached" });
    // What is refused before a handler sees it leaves the stage as it was, for the next such case.
    const early = { shared: true };
    add("the wrong method", { ...early, route: route.startsWith("GET") ? route.replace("GET", "POST") : route.replace("POST", "GET"), body: undefined });
    if (as !== "nobody" && !open) add("no session", { browser: "new" });
    else if (as === "member" || as === "shared") add("nobody", { browser: "new" });
    if (!body) continue;
    for (const field of required) {
      add(`without ${field}`, {
        ...early,
        body: (world) => {
          const { [field]: _, ...rest } = body(world);
          return rest;
        },
      });
    }
    // What is sent per field is known once a body is made; the names are the same for everybody.
    const fields = Object.keys(body({ totpURI: "otpauth://totp/x?secret=AAAAAAAA" }));
    for (const field of fields) {
      add(`${field} of the wrong type`, { body: (world) => ({ ...body(world), [field]: { not: "it" } }) });
    }
    if (fields.length > 0) add("an extra field", { body: (world) => ({ ...body(world), surprise: 1 }) });
    add("malformed JSON", { ...early, body: undefined, text: () => '{"a":', headers: json });
    add("the wrong content type", { ...early, body: undefined, text: (world) => JSON.stringify(body(world)), headers: { "content-type": "text/plain" } });
    if (required.length > 0) add("no body", { ...early, body: undefined });
  }
  for (const [what, as, route, over] of single) all.push({ name: `${route}: ${what}`, as, route, settings: "plain", ...over });
  return all;
}

// ---- asking both -----------------------------------------------------------------------------------

/** The answer with its list in an order of ours, where the order is chance. */
function sorted(answer, key) {
  if (!key || answer.status !== 200) return answer;
  const json = [...answer.json].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  return { ...answer, text: JSON.stringify(json), json };
}

async function ask(stage, one) {
  const world = one.shared ? await (stage.shared[one.as] ??= actors[one.as](stage)) : await actors[one.as](stage);
  const browser = one.browser === "new" ? stage.server.browser() : world.browser;
  const [method, route] = one.route.split(" ");
  const cookie = browser.jar.header();
  const body = one.text ? one.text(world) : one.body && JSON.stringify(one.body(world));
  return raw(stage.server.url, {
    method,
    path: `/api/auth${route}${one.query ? `?${new URLSearchParams(one.query)}` : ""}`,
    headers: {
      origin: ORIGIN,
      ...(cookie && { cookie }),
      ...(one.body && { "content-type": "application/json" }),
      ...(typeof one.headers === "function" ? one.headers(world) : one.headers),
    },
    body,
  });
}

describe("the same answers as better-auth", () => {
  const stages = {};
  const cleanUp = [];
  const context = { after: (f) => cleanUp.unshift(f) };

  before(async () => {
    const folder = await temporaryFolder(context);
    for (const [name, over] of Object.entries(settings)) {
      stages[name] = [];
      for (const kind of ["peer", "portcullis"]) {
        const hook = await startWebhook(context);
        const url = `sqlite:${path.join(folder, `${kind}-${name}.db`)}`;
        const server = await start(kind, config(url, hook.url, over));
        context.after(() => server.stop());
        const { json: jwks } = await server.browser().call("GET", "/jwks");
        stages[name].push({ server, hook, shared: {}, side: { secret: server.config.secret, jwks } });
      }
    }
  });
  after(async () => {
    for (const f of cleanUp) await f();
  });

  const all = cases();
  for (const [index, one] of all.entries()) {
    test(one.name, async () => {
      const [left, right] = stages[one.settings].map((stage) => ({ ...stage, number: index }));
      const answers = (await Promise.all([ask(left, one), ask(right, one)])).map((answer) => sorted(answer, one.sortBy));
      if (one.status) assert.equal(answers[0].status, one.status, `better-auth itself: ${answers[0].text}`);
      const found = await new Comparison(left.side, right.side).differences(...answers);
      const deviation = selfCheck ? undefined : deviations.find((row) => row.case === one.name);
      if (deviation) {
        assert.deepEqual(
          found.map((difference) => difference.path).sort(),
          [...deviation.differs].sort(),
          `the deviation ${deviation.id} is not what is listed: mend deviations.mjs and COMPATIBILITY.md`,
        );
      } else {
        assert.deepEqual(found, [], JSON.stringify(found, null, 1));
      }
    });
  }

  test("every listed deviation is of a case, once, with a reason", () => {
    const table = readFileSync(new URL("../COMPATIBILITY.md", import.meta.url), "utf8");
    const names = new Set(all.map((one) => one.name));
    assert.equal(names.size, all.length, "two cases have one name");
    for (const row of deviations) {
      assert.ok(names.has(row.case), `${row.id}: no case is called ${row.case}`);
      assert.ok(row.id && row.reason && row.differs.length > 0, `${row.id} is incomplete`);
      assert.ok(table.includes(`| \`${row.id}\` |`), `${row.id} is not in COMPATIBILITY.md`);
    }
    assert.equal(new Set(deviations.map((row) => row.case)).size, deviations.length);
  });
});

// The rooms with their usual settings: a family of cases for each route, and single situations.
import { totp, wrongTotp } from "../codes.mjs";
import { ORIGIN } from "../target.mjs";
import { actors, OTHER_PASSWORD, PASSWORD } from "./actors.mjs";
import { families, situations, stories } from "./family.mjs";

const usual = ({ session, ...over } = {}) => (hook) => ({
  session: { ...session, additionalFields: { theme: { type: "string", required: false } } },
  user: {
    additionalFields: {
      nickname: { type: "string", required: false },
      plan: { type: "string", required: false, input: false, defaultValue: "free" },
    },
  },
  plugins: { username: {}, jwt: {}, bearer: {}, multiSession: {}, twoFactor: { otpOptions: { sendOTP: hook } } },
  ...over,
});

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
    body: (w) => ({ code: totp(w.totpURI, w.browser?.stage.now), trustDevice: true }) },
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
  ["a taken username and no address", "known", "POST /sign-up/email", { body: (w) => ({ name: "Eve", password: PASSWORD, username: w.username }) }],
  ["a short username and no address", "nobody", "POST /sign-up/email", { body: { name: "Eve", password: PASSWORD, username: "ab" } }],
  ["a short username", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, username: "ab" }) }],
  ["a long username", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, username: "a".repeat(31) }) }],
  ["a username with a blank", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, username: "eve eve" }) }],
  ["a display name alone", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: PASSWORD, displayUsername: "Eve_The_First" }) }],
  ["not an address", "nobody", "POST /sign-up/email", { body: () => ({ name: "Eve", email: "eve at example", password: PASSWORD }) }],
  ["an empty name", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "", email: w.email, password: PASSWORD }) }],
  ["an empty password", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: "" }) }],
  ["an empty list for a password", "nobody", "POST /sign-up/email", { body: (w) => ({ name: "Eve", email: w.email, password: [] }) }],
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
  ["the origin null", "member", "POST /update-user", { headers: { origin: "null" }, body: () => ({ name: "Mallory" }) }],
  ["a referer instead of an origin", "member", "POST /update-user", { headers: { origin: undefined, referer: `${ORIGIN}/page` }, body: () => ({ name: "Renamed" }) }],
  ["the address", "member", "POST /update-user", { body: () => ({ email: "other@example.com" }) }],
  ["nothing", "member", "POST /update-user", { body: () => ({}) }],
  ["a field that is not for clients", "member", "POST /update-user", { body: () => ({ plan: "gold" }) }],
  ["no image any more", "member", "POST /update-user", { body: () => ({ image: null }) }],
  ["a username", "member", "POST /update-user", { body: () => ({ username: "Brand_New" }) }],
  ["nobody, a taken username", "member", "POST /update-user", { browser: "new", body: (w) => ({ username: w.username }) }],
  ["nobody, a short username", "nobody", "POST /update-user", { body: { username: "ab" } }],
  ["a short username", "member", "POST /update-user", { body: { username: "ab" } }],
  ["a taken username", "shared", "POST /update-user", { body: (w) => ({ username: w.username }) }],
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
  ["the first code", "enabling", "POST /two-factor/verify-totp", { body: (w) => ({ code: totp(w.totpURI, w.browser?.stage.now) }) }],
  ["a wrong first code", "enabling", "POST /two-factor/verify-totp", { body: (w) => ({ code: wrongTotp(w.totpURI, w.browser.stage.now) }) }],
  ["a wrong code", "pending", "POST /two-factor/verify-totp", { body: (w) => ({ code: wrongTotp(w.totpURI, w.browser.stage.now) }) }],
  ["never on", "member", "POST /two-factor/verify-totp", { body: () => ({ code: "123456" }) }],
  ["not a code", "pending", "POST /two-factor/verify-totp", { body: () => ({ code: "abc" }) }],
  ["a wrong code", "texted", "POST /two-factor/verify-otp", { body: (w) => ({ code: w.otp === "000000" ? "111111" : "000000" }) }],
  ["a second code", "texted", "POST /two-factor/send-otp", { body: {} }],
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

const through = stories([
  ["remembered after all", "POST /sign-in/email", async (stage) => {
    const w = await actors.known(stage);
    const body = { email: w.email, password: PASSWORD };
    await w.browser.post("/sign-in/email", { ...body, rememberMe: false });
    await w.browser.post("/sign-in/email", body);
  }],
  ["the session has expired", "GET /get-session", async (stage) => {
    const w = await actors.member(stage);
    stage.later(8 * 86_400);
    await w.browser.get("/get-session");
  }],
  ["again and again", "GET /get-session", async (stage) => {
    const w = await actors.member(stage);
    // On a busy machine a reading may go to the database, and its token is a new one.
    for (let n = 0; n < 12; n += 1) {
      await w.browser.get("/get-session");
      stage.later(2);
    }
  }],
  ["renewed and refused", "GET /list-sessions", async (stage) => {
    const w = await actors.member(stage);
    stage.later(2 * 86_400);
    await w.browser.get("/list-sessions");
  }],
]);

const all = [...families(endpoints), ...situations(single), ...through];
const cached = families(endpoints.filter((one) => one.cached)).filter((one) => one.name.endsWith(": as it should be"));

export default [
  { group: "the rooms", config: usual(), cases: all },
  {
    group: "the rooms with a cookie cache",
    config: usual({ session: { cookieCache: { enabled: true, maxAge: 300 } } }),
    cases: cached.map((one) => ({ ...one, name: `${one.name}, with a cookie cache` })),
  },
];

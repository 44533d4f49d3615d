// The real better-auth client drives the server under test. What an app sees is what is asserted: values,
// cookies and error codes.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { openCompactCache, totp, unsign, wrongTotp } from "./codes.mjs";
import { configuration, ORIGIN, startFor, startWebhook, temporaryFolder } from "./target.mjs";

const PASSWORD = "correct horse battery";
const ID = /^[A-Za-z0-9]{32}$/;

/** A server with a fresh SQLite file. */
async function serve(t, over = {}) {
  const folder = await temporaryFolder(t);
  return startFor(t, "portcullis", configuration(`sqlite:${path.join(folder, "auth.db")}`, over));
}

/** Somebody who has just signed up, in a browser of their own. */
async function signedUp(server, { name = "Ada", fetchOptions, ...fields } = {}) {
  const browser = server.browser();
  const client = browser.client(fetchOptions);
  const email = fields.email ?? `${name.toLowerCase()}@example.com`;
  const user = ok(await client.signUp.email({ name, email, password: PASSWORD, ...fields })).user;
  return { browser, client, email, user };
}

/** The data of an answer, which must be a success. */
function ok({ data, error }) {
  assert.equal(error, null, `refused: ${JSON.stringify(error)}`);
  return data;
}

/** The answer must be this refusal. */
function refused({ data, error }, status, code, message) {
  assert.equal(data, null, `accepted: ${JSON.stringify(data)}`);
  assert.deepEqual([error.status, error.code, error.message], [status, code, message]);
}

function near(date, expected, what) {
  const value = date instanceof Date ? date : new Date(date);
  assert.ok(Math.abs(value.getTime() - expected) < 2_000, `${what}: ${value.toISOString()}`);
}

test("signing up gives a user, a session and its cookie", async (t) => {
  const server = await serve(t);
  const browser = server.browser();
  const data = ok(await browser.client().signUp.email({ name: "Ada", email: "Ada@Example.com", password: PASSWORD }));
  assert.deepEqual(Object.keys(data).sort(), ["token", "user"]);
  assert.match(data.token, ID);
  assert.match(data.user.id, ID);
  assert.equal(data.user.email, "ada@example.com");
  assert.equal(data.user.name, "Ada");
  assert.equal(data.user.emailVerified, false);
  assert.equal(data.user.image, null);
  near(data.user.createdAt, Date.now(), "createdAt");
  assert.deepEqual(browser.jar.names(), ["better-auth.session_token"]);
  assert.equal(unsign(browser.jar.get("better-auth.session_token")), data.token);
});

test("signing up refuses a taken address, a short password and a bad address", async (t) => {
  const server = await serve(t);
  await signedUp(server);
  const client = server.browser().client();
  refused(
    await client.signUp.email({ name: "Eve", email: "ADA@example.com", password: PASSWORD }),
    422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", "User already exists. Use another email.",
  );
  refused(
    await client.signUp.email({ name: "Eve", email: "eve@example.com", password: "short12" }),
    400, "PASSWORD_TOO_SHORT", "Password too short",
  );
  refused(
    await client.signUp.email({ name: "Eve", email: "eve@example.com", password: "x".repeat(129) }),
    400, "PASSWORD_TOO_LONG", "Password too long",
  );
  refused(
    await client.signUp.email({ name: "Eve", email: "not an address", password: PASSWORD }),
    400, "VALIDATION_ERROR", "[body.email] Invalid email address",
  );
  assert.equal(ok(await client.getSession()), null);
});

test("signing in finds the account, and tells nobody which half was wrong", async (t) => {
  const server = await serve(t);
  const { user, email } = await signedUp(server);
  const browser = server.browser();
  const client = browser.client();
  const wrong = [401, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password"];
  refused(await client.signIn.email({ email, password: "wrong horse battery" }), ...wrong);
  refused(await client.signIn.email({ email: "nobody@example.com", password: PASSWORD }), ...wrong);
  assert.deepEqual(browser.jar.names(), []);

  const data = ok(await client.signIn.email({ email: "ADA@example.com", password: PASSWORD }));
  assert.equal(data.redirect, false);
  assert.deepEqual(data.user, user);
  assert.match(data.token, ID);

  const { session, user: seen } = ok(await client.getSession());
  assert.equal(session.token, data.token);
  assert.equal(session.userId, user.id);
  assert.deepEqual(seen, user);
  near(session.expiresAt, Date.now() + 7 * 86_400_000, "expiresAt");
});

test("a session that is not to be remembered lasts a day and its cookie as long as the browser", async (t) => {
  const server = await serve(t);
  const { email } = await signedUp(server);
  const browser = server.browser();
  const answer = await browser.call("POST", "/sign-in/email", { body: { email, password: PASSWORD, rememberMe: false } });
  assert.equal(answer.status, 200);
  const cookie = answer.setCookies.find((one) => one.startsWith("better-auth.session_token="));
  assert.doesNotMatch(cookie, /max-age|expires/i);
  assert.equal(unsign(browser.jar.get("better-auth.dont_remember")), "true");
  const { session } = ok(await browser.client().getSession());
  near(session.expiresAt, Date.now() + 86_400_000, "expiresAt");
});

test("a forged session cookie is nobody", async (t) => {
  const server = await serve(t);
  const { browser } = await signedUp(server);
  const cookie = decodeURIComponent(browser.jar.get("better-auth.session_token"));
  const dot = cookie.lastIndexOf(".");
  const other = (letter) => (letter === "x" ? "y" : "x");
  const forgeries = {
    "another token": `${other(cookie[0])}${cookie.slice(1)}`,
    "another signature": `${cookie.slice(0, dot + 1)}${other(cookie[dot + 1])}${cookie.slice(dot + 2)}`,
    "no signature": cookie.slice(0, dot),
  };
  for (const [what, value] of Object.entries(forgeries)) {
    const forger = server.browser();
    forger.jar.set("better-auth.session_token", encodeURIComponent(value));
    assert.equal(ok(await forger.client().getSession()), null, what);
  }
  assert.ok(ok(await browser.client().getSession()), "the true cookie still works");
});

test("a page from elsewhere cannot act with somebody's cookies", async (t) => {
  const server = await serve(t);
  const { client } = await signedUp(server);
  refused(
    await client.updateUser({ name: "Mallory", fetchOptions: { headers: { origin: "https://evil.example" } } }),
    403, "INVALID_ORIGIN", "Invalid origin",
  );
  assert.equal(ok(await client.getSession()).user.name, "Ada");
});

test("updating oneself changes name and image, and never the address", async (t) => {
  const server = await serve(t);
  const { client, user } = await signedUp(server);
  assert.deepEqual(ok(await client.updateUser({ name: "Ada L.", image: "https://example.com/a.png" })), { status: true });
  const seen = ok(await client.getSession()).user;
  assert.equal(seen.name, "Ada L.");
  assert.equal(seen.image, "https://example.com/a.png");
  assert.equal(seen.id, user.id);
  refused(
    await client.updateUser({ email: "other@example.com" }),
    400, "EMAIL_CAN_NOT_BE_UPDATED", "Email can not be updated",
  );
  refused(
    await server.browser().client().updateUser({ name: "Nobody" }),
    401, "UNAUTHORIZED", "Unauthorized",
  );
});

test("changing the password needs the old one, and can end every other session", async (t) => {
  const server = await serve(t);
  const { client, browser, email, user } = await signedUp(server);
  const elsewhere = server.browser();
  ok(await elsewhere.client().signIn.email({ email, password: PASSWORD }));

  refused(
    await client.changePassword({ currentPassword: "wrong horse battery", newPassword: "another good one" }),
    400, "INVALID_PASSWORD", "Invalid password",
  );
  const before = browser.jar.get("better-auth.session_token");
  const data = ok(
    await client.changePassword({ currentPassword: PASSWORD, newPassword: "another good one", revokeOtherSessions: true }),
  );
  assert.match(data.token, ID);
  assert.equal(data.user.id, user.id);
  assert.notEqual(browser.jar.get("better-auth.session_token"), before);
  assert.equal(ok(await client.getSession()).session.token, data.token);
  assert.equal(ok(await elsewhere.client().getSession()), null);

  const again = server.browser().client();
  refused(
    await again.signIn.email({ email, password: PASSWORD }),
    401, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password",
  );
  assert.equal(ok(await again.signIn.email({ email, password: "another good one" })).user.id, user.id);
});

test("sessions are listed and revoked one by one, all others, or all", async (t) => {
  const server = await serve(t);
  const { client, email } = await signedUp(server);
  const others = [];
  for (let index = 0; index < 3; index += 1) {
    const other = server.browser().client();
    others.push({ other, token: ok(await other.signIn.email({ email, password: PASSWORD })).token });
  }
  const mine = ok(await client.getSession()).session.token;
  const tokens = async () => ok(await client.listSessions()).map((one) => one.token).sort();
  assert.deepEqual(await tokens(), [mine, ...others.map((one) => one.token)].sort());

  assert.deepEqual(ok(await client.revokeSession({ token: others[0].token })), { status: true });
  assert.equal(ok(await others[0].other.getSession()), null);
  assert.deepEqual(await tokens(), [mine, others[1].token, others[2].token].sort());

  assert.deepEqual(ok(await client.revokeOtherSessions()), { status: true });
  assert.deepEqual(await tokens(), [mine]);

  ok(await others[1].other.signIn.email({ email, password: PASSWORD }));
  assert.deepEqual(ok(await client.revokeSessions()), { status: true });
  assert.equal(ok(await client.getSession()), null);
  assert.equal(ok(await others[1].other.getSession()), null);
});

test("somebody else's session survives being revoked by its token", async (t) => {
  const server = await serve(t);
  const ada = await signedUp(server, { name: "Ada" });
  const eve = await signedUp(server, { name: "Eve" });
  const { token } = ok(await ada.client.getSession()).session;
  assert.deepEqual(ok(await eve.client.revokeSession({ token })), { status: true });
  assert.equal(ok(await ada.client.getSession()).session.token, token);
});

test("signing out ends the session and forgets the cookie", async (t) => {
  const server = await serve(t);
  const { client, browser } = await signedUp(server);
  const stolen = browser.at(server);
  assert.deepEqual(ok(await client.signOut()), { success: true });
  assert.deepEqual(browser.jar.names(), []);
  assert.equal(ok(await client.getSession()), null);
  assert.equal(ok(await stolen.client().getSession()), null);
});

test("accounts are listed, and the last way to sign in stays", async (t) => {
  const server = await serve(t);
  const { client, user } = await signedUp(server);
  const accounts = ok(await client.listAccounts());
  assert.equal(accounts.length, 1);
  const { id, createdAt, updatedAt, ...rest } = accounts[0];
  assert.deepEqual(rest, { accountId: user.id, providerId: "credential", scopes: [], userId: user.id });
  near(createdAt, Date.now(), "createdAt");
  near(updatedAt, Date.now(), "updatedAt");
  refused(
    await client.unlinkAccount({ accountId: id }),
    400, "FAILED_TO_UNLINK_LAST_ACCOUNT", "You can't unlink your last account",
  );
});

test("the cookie cache answers without the database, in all three forms", async (t) => {
  for (const strategy of ["compact", "jwt", "jwe"]) {
    await t.test(strategy, async (t) => {
      const server = await serve(t, { session: { cookieCache: { enabled: true, maxAge: 120, strategy } } });
      const { browser, client, user } = await signedUp(server);
      assert.deepEqual(browser.jar.names().sort(), ["better-auth.session_data", "better-auth.session_token"]);
      const cache = browser.jar.get("better-auth.session_data");
      if (strategy === "compact") {
        const { session, user: cached, expiresAt, version } = openCompactCache(cache);
        assert.equal(session.token, unsign(browser.jar.get("better-auth.session_token")));
        assert.equal(cached.email, user.email);
        assert.equal(version, "1");
        near(expiresAt, Date.now() + 120_000, "expiresAt");
      } else {
        const { alg, enc } = decodeProtectedHeader(decodeURIComponent(cache));
        assert.deepEqual([alg, enc], strategy === "jwt" ? ["HS256", undefined] : ["dir", "A256CBC-HS512"]);
      }
      // A stale copy of the cookies still answers from the cache after the session was ended, and not when
      // the cache is switched off for the question.
      const stale = browser.at(server);
      ok(await client.signOut());
      assert.equal(ok(await stale.client().getSession()).user.id, user.id);
      assert.equal(ok(await stale.client().getSession({ query: { disableCookieCache: true } })), null);
    });
  }
});

test("a username signs in whatever its case, and is taken once", async (t) => {
  const server = await serve(t, { plugins: { username: {} } });
  const { user } = await signedUp(server, { username: "Ada_1815" });
  assert.equal(user.username, "ada_1815");
  assert.equal(user.displayUsername, "Ada_1815");

  const client = server.browser().client();
  const data = ok(await client.signIn.username({ username: "ADA_1815", password: PASSWORD }));
  assert.equal(data.user.id, user.id);
  assert.equal(ok(await client.getSession()).user.username, "ada_1815");

  refused(
    await client.signIn.username({ username: "ada_1815", password: "wrong horse battery" }),
    401, "INVALID_USERNAME_OR_PASSWORD", "Invalid username or password",
  );
  assert.deepEqual(ok(await client.isUsernameAvailable({ username: "ada_1815" })), { available: false });
  assert.deepEqual(ok(await client.isUsernameAvailable({ username: "grace" })), { available: true });
  refused(
    await server.browser().client().signUp.email({
      name: "Eve", email: "eve@example.com", password: PASSWORD, username: "ADA_1815",
    }),
    400, "USERNAME_IS_ALREADY_TAKEN", "Username is already taken. Please try another.",
  );
  assert.deepEqual(ok(await client.updateUser({ username: "countess" })), { status: true });
  assert.equal(ok(await server.browser().client().signIn.username({ username: "Countess", password: PASSWORD })).user.id, user.id);
});

test("a token verifies against /jwks and says who it is", async (t) => {
  const server = await serve(t, { plugins: { jwt: {} } });
  const { client, user } = await signedUp(server);
  const { token } = ok(await client.token());
  const jwks = ok(await client.jwks());
  assert.equal(jwks.keys.length, 1);
  const [{ kid, alg, kty, crv, x, ...nothing }] = jwks.keys;
  assert.deepEqual([alg, kty, crv], ["EdDSA", "OKP", "Ed25519"]);
  assert.equal(Buffer.from(x, "base64url").length, 32);
  assert.deepEqual(nothing, {}, "no private part, nothing else");
  assert.deepEqual(decodeProtectedHeader(token), { alg: "EdDSA", kid });

  const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), { issuer: ORIGIN, audience: ORIGIN });
  assert.equal(payload.sub, user.id);
  assert.equal(payload.id, user.id);
  assert.equal(payload.email, user.email);
  assert.equal(payload.exp - payload.iat, 900);
  near(payload.iat * 1000, Date.now(), "iat");
  refused(await server.browser().client().token(), 401, "UNAUTHORIZED", "Unauthorized");

  let header;
  await client.getSession({ fetchOptions: { onSuccess: (context) => (header = context.response.headers.get("set-auth-jwt")) } });
  assert.equal((await jwtVerify(header, createLocalJWKSet(jwks))).payload.sub, user.id);
});

test("a bearer token stands for the session, signed or as it is", async (t) => {
  const server = await serve(t, { plugins: { bearer: {} } });
  const browser = server.browser();
  let bearer;
  const remember = { onSuccess: (context) => (bearer = context.response.headers.get("set-auth-token") ?? bearer) };
  const { user, token } = ok(
    await browser.client().signUp.email({ name: "Ada", email: "ada@example.com", password: PASSWORD, fetchOptions: remember }),
  );
  assert.equal(unsign(encodeURIComponent(bearer)), token);
  for (const value of [bearer, token, encodeURIComponent(bearer)]) {
    const client = server.browser().client({ auth: { type: "Bearer", token: value } });
    assert.equal(ok(await client.getSession()).user.id, user.id);
  }
  const stranger = server.browser().client({ auth: { type: "Bearer", token: `${token.slice(1)}x` } });
  assert.equal(ok(await stranger.getSession()), null);
});

test("several people share one browser and switch between their sessions", async (t) => {
  const server = await serve(t, { plugins: { multiSession: {} } });
  const { browser, client, user: ada } = await signedUp(server, { name: "Ada" });
  const first = ok(await client.getSession()).session.token;
  const grace = ok(await client.signUp.email({ name: "Grace", email: "grace@example.com", password: PASSWORD }));
  assert.equal(ok(await client.getSession()).user.id, grace.user.id);
  for (const token of [first, grace.token]) {
    assert.equal(unsign(browser.jar.get(`better-auth.session_token_multi-${token.toLowerCase()}`)), token);
  }
  const device = ok(await client.multiSession.listDeviceSessions());
  assert.deepEqual(device.map((one) => one.user.id).sort(), [ada.id, grace.user.id].sort());

  assert.equal(ok(await client.multiSession.setActive({ sessionToken: first })).user.id, ada.id);
  assert.equal(ok(await client.getSession()).user.id, ada.id);

  assert.deepEqual(ok(await client.multiSession.revoke({ sessionToken: first })), { status: true });
  assert.equal(ok(await client.getSession()).user.id, grace.user.id, "the one that is left takes over");
  refused(
    await client.multiSession.setActive({ sessionToken: first }),
    401, "INVALID_SESSION_TOKEN", "Invalid session token",
  );
  assert.deepEqual(ok(await client.signOut()), { success: true });
  assert.deepEqual(browser.jar.names(), []);
});

/** Somebody with TOTP switched on: their URI and backup codes. */
async function withTotp(server) {
  const person = await signedUp(server);
  const { client } = person;
  const enabled = ok(await client.twoFactor.enable({ password: PASSWORD }));
  assert.equal(enabled.method, "totp");
  assert.equal(enabled.backupCodes.length, 10);
  assert.equal(new Set(enabled.backupCodes).size, 10);
  for (const code of enabled.backupCodes) assert.match(code, /^[A-Za-z0-9]{5}-[A-Za-z0-9]{5}$/);
  // Not on before the first code has proven that the authenticator knows the secret.
  assert.equal(ok(await client.getSession()).user.twoFactorEnabled, false);
  const verified = ok(await client.twoFactor.verifyTotp({ code: totp(enabled.totpURI) }));
  assert.equal(verified.user.id, person.user.id);
  assert.equal(ok(await client.getSession()).user.twoFactorEnabled, true);
  return { ...person, ...enabled };
}

test("with TOTP a password alone is half a sign-in", async (t) => {
  const server = await serve(t, { appName: "Gate House", plugins: { twoFactor: {} } });
  const { email, totpURI, user } = await withTotp(server);
  const uri = new URL(totpURI);
  assert.equal(uri.protocol, "otpauth:");
  assert.equal(uri.searchParams.get("issuer"), "Gate House");
  assert.match(uri.searchParams.get("secret"), /^[A-Z2-7]{52}$/);
  assert.deepEqual([uri.searchParams.get("digits"), uri.searchParams.get("period")], ["6", "30"]);
  assert.equal(decodeURIComponent(uri.pathname.replace(/^.*\//, "")), `Gate House:${email}`);

  const browser = server.browser();
  const client = browser.client();
  const half = ok(await client.signIn.email({ email, password: PASSWORD }));
  assert.deepEqual(half, { twoFactorRedirect: true, twoFactorMethods: ["totp"] });
  assert.deepEqual(browser.jar.names(), ["better-auth.two_factor"]);
  assert.match(unsign(browser.jar.get("better-auth.two_factor")), /^2fa-[A-Za-z0-9_-]{20}$/);
  assert.equal(ok(await client.getSession()), null);

  refused(await client.twoFactor.verifyTotp({ code: wrongTotp(totpURI) }), 401, "INVALID_CODE", "Invalid code");
  const whole = ok(await client.twoFactor.verifyTotp({ code: totp(totpURI) }));
  assert.equal(whole.user.id, user.id);
  assert.equal(ok(await client.getSession()).session.token, whole.token);
  assert.deepEqual(browser.jar.names(), ["better-auth.session_token"]);
});

test("five wrong codes end a challenge", async (t) => {
  const server = await serve(t, { plugins: { twoFactor: {} } });
  const { email, totpURI } = await withTotp(server);
  const client = server.browser().client();
  ok(await client.signIn.email({ email, password: PASSWORD }));
  for (let index = 0; index < 5; index += 1) {
    refused(await client.twoFactor.verifyTotp({ code: wrongTotp(totpURI) }), 401, "INVALID_CODE", "Invalid code");
  }
  refused(
    await client.twoFactor.verifyTotp({ code: totp(totpURI) }),
    400, "TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE", "Too many attempts. Please request a new code.",
  );
  assert.equal(ok(await client.getSession()), null);
});

test("a backup code works once", async (t) => {
  const server = await serve(t, { plugins: { twoFactor: {} } });
  const { email, backupCodes, client: owner, user } = await withTotp(server);
  const first = server.browser().client();
  ok(await first.signIn.email({ email, password: PASSWORD }));
  assert.equal(ok(await first.twoFactor.verifyBackupCode({ code: backupCodes[3] })).user.id, user.id);
  assert.equal(ok(await first.getSession()).user.id, user.id);

  const second = server.browser().client();
  ok(await second.signIn.email({ email, password: PASSWORD }));
  refused(
    await second.twoFactor.verifyBackupCode({ code: backupCodes[3] }),
    401, "INVALID_BACKUP_CODE", "Invalid backup code",
  );
  const renewed = ok(await owner.twoFactor.generateBackupCodes({ password: PASSWORD }));
  assert.equal(renewed.status, true);
  assert.equal(renewed.backupCodes.length, 10);
  refused(
    await second.twoFactor.verifyBackupCode({ code: backupCodes[4] }),
    401, "INVALID_BACKUP_CODE", "Invalid backup code",
  );
  assert.equal(ok(await second.twoFactor.verifyBackupCode({ code: renewed.backupCodes[0] })).user.id, user.id);
});

test("a trusted device is not asked again, and only for its own user", async (t) => {
  const server = await serve(t, { plugins: { twoFactor: {} } });
  const { email, totpURI, user } = await withTotp(server);
  const browser = server.browser();
  const client = browser.client();
  ok(await client.signIn.email({ email, password: PASSWORD }));
  ok(await client.twoFactor.verifyTotp({ code: totp(totpURI), trustDevice: true }));
  const trust = browser.jar.get("better-auth.trust_device");
  assert.match(unsign(trust), /^[A-Za-z0-9_-]{43}!trust-device-[A-Za-z0-9_-]{32}$/);

  ok(await client.signOut());
  assert.equal(ok(await client.signIn.email({ email, password: PASSWORD })).user.id, user.id);
  assert.notEqual(browser.jar.get("better-auth.trust_device"), trust, "it is renewed at each use");

  const replay = server.browser();
  replay.jar.set("better-auth.trust_device", trust);
  assert.equal(ok(await replay.client().signIn.email({ email, password: PASSWORD })).twoFactorRedirect, true);
});

test("a code sent by the operator finishes a sign-in", async (t) => {
  const hook = await startWebhook(t);
  const server = await serve(t, { plugins: { twoFactor: { otpOptions: { sendOTP: { webhook: hook.url } } } } });
  const { client: owner, email, user } = await signedUp(server);
  assert.deepEqual(ok(await owner.twoFactor.enable({ password: PASSWORD, method: "otp" })), { method: "otp" });
  const client = server.browser().client();
  const half = ok(await client.signIn.email({ email, password: PASSWORD }));
  assert.deepEqual(half, { twoFactorRedirect: true, twoFactorMethods: ["otp"] });
  assert.deepEqual(ok(await client.twoFactor.sendOtp()), { status: true });
  assert.equal(hook.calls.length, 1);
  const [{ callback, args }] = hook.calls;
  assert.equal(callback, "plugins.twoFactor.otpOptions.sendOTP");
  assert.equal(args[0].user.id, user.id);
  assert.match(args[0].otp, /^\d{6}$/);
  const wrong = String((Number(args[0].otp) + 1) % 1_000_000).padStart(6, "0");
  refused(await client.twoFactor.verifyOtp({ code: wrong }), 401, "INVALID_CODE", "Invalid code");
  assert.equal(ok(await client.twoFactor.verifyOtp({ code: args[0].otp })).user.id, user.id);
  assert.equal(ok(await client.getSession()).user.id, user.id);
});

test("switching two-factor off makes the password enough again", async (t) => {
  const server = await serve(t, { plugins: { twoFactor: {} } });
  const { client, email, user } = await withTotp(server);
  refused(
    await client.twoFactor.disable({ password: "wrong horse battery" }),
    400, "INVALID_PASSWORD", "Invalid password",
  );
  assert.deepEqual(ok(await client.twoFactor.disable({ password: PASSWORD })), { status: true });
  assert.equal(ok(await client.getSession()).user.twoFactorEnabled, false);
  assert.equal(ok(await server.browser().client().signIn.email({ email, password: PASSWORD })).user.id, user.id);
});

test("a username with a second factor is asked for it too", async (t) => {
  const server = await serve(t, { plugins: { username: {}, twoFactor: {} } });
  const { client, totpURI } = await withTotp(server);
  ok(await client.updateUser({ username: "lovelace" }));
  const other = server.browser().client();
  const half = ok(await other.signIn.username({ username: "lovelace", password: PASSWORD }));
  assert.equal(half.twoFactorRedirect, true);
  assert.equal(ok(await other.twoFactor.verifyTotp({ code: totp(totpURI) })).user.username, "lovelace");
});

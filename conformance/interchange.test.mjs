// One database, two servers, one after the other: what better-auth wrote is Portcullis' to serve, and the
// other way round, for accounts, sessions, cookies, second factors, trusted devices and signing keys.
//
// Portcullis hashes with scrypt here: Node verifies no other kind.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from "jose";
import { totp, unsign } from "./codes.mjs";
import { startDatabase } from "./databases.mjs";
import { configuration, ORIGIN, start, temporaryFolder } from "./target.mjs";

const PASSWORD = "correct horse battery";

function settings(databaseUrl, strategy) {
  return configuration(databaseUrl, {
    passwordHash: { algorithm: "scrypt" },
    session: { cookieCache: { enabled: true, maxAge: 300, strategy } },
    plugins: { username: {}, jwt: {}, bearer: {}, multiSession: {}, twoFactor: {} },
  });
}

function ok({ data, error }) {
  assert.equal(error, null, `refused: ${JSON.stringify(error)}`);
  return data;
}

/** Runs `body` with a server of this kind, which has ended before anything else happens. */
async function withServer(kind, config, body) {
  const server = await start(kind, config);
  try {
    return await body(server);
  } finally {
    await server.stop();
  }
}

/** Everything that one server can leave behind for the other. */
async function makeData(server) {
  const browser = server.browser();
  const client = browser.client();
  const email = "ada@example.com";
  const { user } = ok(await client.signUp.email({ name: "Ada Ünïcode 🗝", email, password: PASSWORD, username: "Ada_1815" }));
  ok(await client.updateUser({ image: "https://example.com/a.png" }));
  const { totpURI, backupCodes } = ok(await client.twoFactor.enable({ password: PASSWORD }));
  ok(await client.twoFactor.verifyTotp({ code: totp(totpURI) }));
  const { token: jwt } = ok(await client.token());
  const { keys } = ok(await client.jwks());

  const trusted = server.browser();
  ok(await trusted.client().signIn.email({ email, password: PASSWORD }));
  ok(await trusted.client().twoFactor.verifyTotp({ code: totp(totpURI), trustDevice: true }));

  // Half signed in: the password given, the code not yet.
  const half = server.browser();
  assert.equal(ok(await half.client().signIn.email({ email, password: PASSWORD })).twoFactorRedirect, true);

  // Not remembered: a session of one day that does not slide.
  const forgetful = server.browser();
  ok(await forgetful.client().signUp.email({ name: "Grace", email: "grace@example.com", password: PASSWORD }));
  ok(await forgetful.client().signOut());
  ok(await forgetful.client().signIn.email({ email: "grace@example.com", password: PASSWORD, rememberMe: false }));

  // Cookies of a session that is gone from the database: only the cookie cache knows it still.
  const leaver = server.browser();
  ok(await leaver.client().signUp.email({ name: "Joan", email: "joan@example.com", password: PASSWORD }));
  const ghost = leaver.at(server);
  ok(await leaver.client().signOut());

  const seen = ok(await client.getSession({ query: { disableCookieCache: true } }));
  return { browser, trusted, half, forgetful, ghost, email, user, seen, totpURI, backupCodes: [...backupCodes], jwt, keys };
}

/** What the other server must make of it. It uses up one backup code and the half sign-in. */
async function checkData(server, data) {
  // The session, read from the database and from the cookie cache the other one wrote.
  const browser = data.browser.at(server);
  const cached = ok(await browser.client().getSession());
  assert.deepEqual(cached.user, data.seen.user, "from the cache");
  assert.equal(cached.session.token, data.seen.session.token);
  const answer = await browser.call("GET", "/get-session", { query: { disableCookieCache: "true" } });
  assert.equal(answer.status, 200);
  assert.deepEqual(JSON.parse(JSON.stringify(data.seen)), answer.json, "from the database");

  // The cache alone is believed, until the database is asked.
  const ghost = data.ghost.at(server);
  assert.equal(ok(await ghost.client().getSession())?.user.email, "joan@example.com", "from the cache alone");
  assert.equal(ok(await ghost.client().getSession({ query: { disableCookieCache: true } })), null);

  // Password, by address and by name; the second factor is asked for.
  const fresh = server.browser();
  const half = ok(await fresh.client().signIn.username({ username: "ADA_1815", password: PASSWORD }));
  assert.deepEqual(half, { twoFactorRedirect: true, twoFactorMethods: ["totp"] });
  // The code of the next step, which every server admits: Portcullis takes none twice (`totp-once`).
  const next = totp(data.totpURI, Date.now() + 30_000);
  assert.equal(ok(await fresh.client().twoFactor.verifyTotp({ code: next })).user.id, data.user.id);

  // A sign-in begun there ends here, with a backup code made there, once.
  const code = data.backupCodes.shift();
  assert.equal(ok(await data.half.at(server).client().twoFactor.verifyBackupCode({ code })).user.id, data.user.id);
  const again = server.browser();
  ok(await again.client().signIn.email({ email: data.email, password: PASSWORD }));
  const { error } = await again.client().twoFactor.verifyBackupCode({ code });
  assert.equal(error?.code, "INVALID_BACKUP_CODE");
  const uri = ok(await fresh.client().twoFactor.getTotpUri({ password: PASSWORD })).totpURI;
  assert.equal(new URL(uri).searchParams.get("secret"), new URL(data.totpURI).searchParams.get("secret"));

  // The trusted device is not asked again, and its cookie is renewed for the way back.
  const trusted = data.trusted.at(server);
  ok(await trusted.client().signOut());
  assert.equal(ok(await trusted.client().signIn.email({ email: data.email, password: PASSWORD })).user.id, data.user.id);

  // Not remembered stays so.
  const forgetful = data.forgetful.at(server);
  const short = ok(await forgetful.client().getSession({ query: { disableCookieCache: true } }));
  assert.ok(new Date(short.session.expiresAt) - Date.now() < 86_401_000);
  assert.equal(unsign(forgetful.jar.get("better-auth.dont_remember")), "true");

  // Keys: the same ones are published, a token from there verifies here, and one from here with its key.
  const jwks = ok(await browser.client().jwks());
  assert.deepEqual(jwks.keys, data.keys);
  const expected = { issuer: ORIGIN, audience: ORIGIN };
  const remote = createRemoteJWKSet(new URL(`${server.url}/api/auth/jwks`));
  assert.equal((await jwtVerify(data.jwt, remote, expected)).payload.sub, data.user.id);
  const { token } = ok(await browser.client().token());
  assert.equal((await jwtVerify(token, createLocalJWKSet({ keys: data.keys }), expected)).payload.sub, data.user.id);

  // Writing: what is changed here is read there afterwards.
  const name = `Ada at ${server.kind}`;
  ok(await browser.client().updateUser({ name }));
  const changed = ok(await browser.client().getSession({ query: { disableCookieCache: true } }));
  assert.equal(changed.user.name, name);

  // Several sessions of one browser.
  const device = ok(await browser.client().multiSession.listDeviceSessions());
  assert.deepEqual(device.map((one) => one.user.id), [data.user.id]);

  // The browsers keep the cookies they have now.
  return { ...data, browser, trusted, forgetful, seen: changed };
}

/** For the way back: a new half sign-in, made by whoever serves now. */
async function beginAgain(server, data) {
  const half = server.browser();
  assert.equal(ok(await half.client().signIn.email({ email: data.email, password: PASSWORD })).twoFactorRedirect, true);
  return { ...data, half };
}

/** first → second → first. */
async function roundTrip(first, second, config) {
  const made = await withServer(first, config, makeData);
  const carried = await withServer(second, config, async (server) => beginAgain(server, await checkData(server, made)));
  await withServer(first, config, (server) => checkData(server, carried));
}

const STRATEGIES = ["compact", "jwt", "jwe"];
const DIRECTIONS = [["peer", "portcullis"], ["portcullis", "peer"]];

for (const kind of ["sqlite", "postgres", "mariadb"]) {
  describe(kind, () => {
    let database;
    let missing = false;
    const cleanUp = [];
    before(async () => {
      if (kind === "sqlite") return;
      const context = { after: (f) => cleanUp.push(f), skip: () => (missing = true) };
      database = await startDatabase(context, kind);
    });
    after(async () => {
      for (const f of cleanUp) await f();
    });
    for (const [first, second] of DIRECTIONS) {
      for (const strategy of STRATEGIES) {
        test(`what ${first} made, ${second} serves, and ${first} again (cookie cache: ${strategy})`, async (t) => {
          if (missing) return t.skip("no server");
          const url =
            kind === "sqlite"
              ? `sqlite:${path.join(await temporaryFolder(t), "auth.db")}`
              : await database.create(`${first}_${strategy}`);
          await roundTrip(first, second, settings(url, strategy));
        });
      }
    }
  });
}

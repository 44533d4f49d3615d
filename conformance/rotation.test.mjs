// The secret is replaced while the two servers take turns: what one sealed under an old secret the other
// opens under the new ones, and what was signed with the old one neither believes.
//
// Portcullis hashes with scrypt here: Node verifies no other kind.
import assert from "node:assert/strict";
import path from "node:path";
import { describe, test } from "node:test";
import Database from "better-sqlite3";
import { createLocalJWKSet, jwtVerify } from "jose";
import { totp } from "./codes.mjs";
import { configuration, ORIGIN, SECRET, start, temporaryFolder } from "./target.mjs";

const PASSWORD = "correct horse battery";
const NEW = "Lw5vH2nQ9xTz4rYc7pKd1mBs8gFj3aUe-second";
const NEWER = "Xe6tM1bWq3yRk9zVn5hPc8sLd2gJf7aT-third";

const STAGES = [
  { secret: SECRET },
  { secret: SECRET, secrets: [{ version: 2, value: NEW }] },
  { secret: SECRET, secrets: [{ version: 3, value: NEWER }, { version: 2, value: NEW }] },
];

async function ok(answer) {
  const { status, text } = await answer;
  assert.equal(status, 200, text);
  return text ? JSON.parse(text) : undefined;
}

/** One server at one stage, which has ended before the next begins. */
async function at(kind, stage, file, body) {
  const config = configuration(`sqlite:${file}`, {
    passwordHash: { algorithm: "scrypt" },
    session: { cookieCache: { enabled: true, maxAge: 300, strategy: "jwe" } },
    plugins: { twoFactor: {}, jwt: {} },
    ...STAGES[stage],
  });
  const server = await start(kind, config);
  try {
    return await body(server);
  } finally {
    await server.stop();
  }
}

function sealed(file, table, column) {
  const database = new Database(file, { readonly: true });
  const rows = database.prepare(`select "${column}" as value from "${table}" order by rowid`).all();
  database.close();
  return rows.map(({ value }) => (value.startsWith('"') ? JSON.parse(value) : value));
}

const signIn = (browser, email) => ok(browser.call("POST", "/sign-in/email", { body: { email, password: PASSWORD } }));
const session = (browser) => ok(browser.call("GET", "/get-session"));

async function enable(server, email) {
  const browser = server.browser();
  await ok(browser.call("POST", "/sign-up/email", { body: { name: "A", email, password: PASSWORD } }));
  const { totpURI, backupCodes } = await ok(browser.call("POST", "/two-factor/enable", { body: { password: PASSWORD } }));
  await ok(browser.call("POST", "/two-factor/verify-totp", { body: { code: totp(totpURI) } }));
  return { browser, totpURI, backupCodes };
}

describe("a secret is replaced", () => {
  for (const [maker, reader] of [["peer", "portcullis"], ["portcullis", "peer"]]) {
    test(`${maker} seals, ${reader} opens and seals anew, ${maker} opens`, async (t) => {
      const file = path.join(await temporaryFolder(t), "rotation.db");
      const first = await at(maker, 0, file, async (server) => {
        const made = await enable(server, "ada@example.com");
        const { token } = await ok(made.browser.call("GET", "/token"));
        return { ...made, token, jwks: await ok(made.browser.call("GET", "/jwks")) };
      });
      assert.ok(!sealed(file, "twoFactor", "secret")[0].startsWith("$ba$"));

      const second = await at(reader, 1, file, async (server) => {
        // Signed with the old secret: nobody.
        assert.equal(await session(first.browser.at(server)), null);
        // Sealed with it: opened.
        const browser = server.browser();
        assert.equal((await signIn(browser, "ada@example.com")).twoFactorRedirect, true);
        const code = totp(first.totpURI, Date.now() + 30_000);
        await ok(browser.call("POST", "/two-factor/verify-totp", { body: { code } }));
        const other = server.browser();
        await signIn(other, "ada@example.com");
        await ok(other.call("POST", "/two-factor/verify-backup-code", { body: { code: first.backupCodes[0] } }));
        // The key from before is published and signs.
        assert.deepEqual(await ok(browser.call("GET", "/jwks")), first.jwks);
        const { token } = await ok(browser.call("GET", "/token"));
        const keys = createLocalJWKSet(first.jwks);
        for (const one of [token, first.token]) await jwtVerify(one, keys, { issuer: ORIGIN, audience: ORIGIN });
        return { ...(await enable(server, "bob@example.com")), cached: browser };
      });
      assert.ok(sealed(file, "twoFactor", "backupCodes")[0].startsWith("$ba$2$"), "sealed anew");
      assert.ok(sealed(file, "twoFactor", "secret")[1].startsWith("$ba$2$"));

      await at(maker, 2, file, async (server) => {
        assert.equal(await session(second.cached.at(server)), null);
        const browser = server.browser();
        await signIn(browser, "bob@example.com");
        const code = totp(second.totpURI, Date.now() + 30_000);
        await ok(browser.call("POST", "/two-factor/verify-totp", { body: { code } }));
        const other = server.browser();
        await signIn(other, "ada@example.com");
        await ok(other.call("POST", "/two-factor/verify-backup-code", { body: { code: first.backupCodes[1] } }));
        assert.deepEqual((await ok(browser.call("GET", "/jwks"))).keys, first.jwks.keys);

        // The encrypted cache of the second secret beside a session cookie of the third, and no row.
        const mixed = browser.at(server);
        const own = await session(mixed);
        mixed.jar.set("better-auth.session_data", second.browser.jar.get("better-auth.session_data"));
        assert.equal((await session(mixed)).session.token, own.session.token, "a cache of another session is passed over");
      });
      assert.ok(sealed(file, "twoFactor", "backupCodes")[0].startsWith("$ba$3$"));
    });
  }
});

// Secondary storage: better-auth with `@better-auth/redis-storage` and Portcullis at one Redis. They write the
// same keys with the same values for as long, and what one began the other goes on with.
//
// Portcullis hashes with scrypt here: Node verifies no other kind.
import assert from "node:assert/strict";
import path from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { totp } from "./codes.mjs";
import { startDatabase } from "./databases.mjs";
import { configuration, selfCheck, startFor, startWebhook, temporaryFolder } from "./target.mjs";

const PASSWORD = "correct horse battery";
const EMAIL = "ada@example.com";

function settings(databaseUrl, redis, keyPrefix, hook, over = {}) {
  return configuration(databaseUrl, {
    passwordHash: { algorithm: "scrypt" },
    emailAndPassword: { enabled: true, sendResetPassword: { webhook: hook.url } },
    secondaryStorage: { url: redis.url, keyPrefix },
    user: { additionalFields: { note: { type: "string", required: false, returned: false, defaultValue: "hidden" } } },
    plugins: { multiSession: {}, twoFactor: {} },
    ...over,
    session: { additionalFields: { theme: { type: "string", required: false } }, ...over.session },
  });
}

/** Waits for the mail that is sent beside the answer. */
async function mailed(hook, count) {
  for (let tries = 0; hook.calls.length < count; tries++) {
    assert.ok(tries < 200, "no mail");
    await sleep(25);
  }
  return hook.calls[count - 1].args[0].token;
}

async function ok(answer) {
  const { status, text } = await answer;
  assert.equal(status, 200, text);
  return text ? JSON.parse(text) : undefined;
}

/** Texts that chance or time makes: each must have exactly this shape to be passed over. */
const CHANCE = [
  // Longest first.
  ["trust-device", /trust-device-[A-Za-z0-9_-]{32}/g],
  ["2fa", /2fa-(?!attempts|otp)[A-Za-z0-9_-]{20}/g],
  ["reset", /(?<=reset-password:)[A-Za-z0-9]{24}/g],
  ["hash", /(?<=verification:|"identifier":")[A-Za-z0-9_-]{43}(?=[" ])/g],
  ["id", /(?<![A-Za-z0-9])[A-Za-z0-9]{32}(?![A-Za-z0-9])/g],
];

/** How long things last here; a machine may take its time, so up to two minutes of it may be over. */
const LASTING = [10, 180, 600, 3_600, 86_400, 604_800, 2_592_000];

function about(seconds) {
  if (seconds <= 1 && seconds > -120) return "now";
  const whole = LASTING.find((lasting) => lasting >= seconds - 1);
  return whole !== undefined && whole - seconds < 120 ? `${whole} s` : `${seconds} s`;
}

/** Everything below a prefix as lines of `key = value for seconds`, chance and time made equal. */
async function dump(client, prefix) {
  const now = Date.now();
  const lines = [];
  for (const key of await client.keys(`${prefix}*`)) {
    const name = key.slice(prefix.length);
    // Portcullis' own: a code opens one session only (`totp-once` in COMPATIBILITY.md).
    if (name.startsWith("verification:2fa-totp-")) continue;
    const value = await client.get(key);
    const at = (moment) => `<${about((moment - now) / 1000)}>`;
    const timeless = value
      .replace(/"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/g, (date) => at(new Date(date.slice(1, -1))))
      .replace(/(?<="expiresAt":)\d{13}/g, (millis) => at(Number(millis)));
    const line = `${name} = ${timeless} for ${about(await client.ttl(key))}`;
    const blind = CHANCE.reduce((text, [kind, shape]) => text.replace(shape, `<${kind}>`), line);
    // Of those that look alike the older one first.
    lines.push([line, `${blind} ${/"createdAt":"[^"]*"/.exec(value)?.[0]}`]);
  }
  lines.sort(([, a], [, b]) => (a < b ? -1 : 1));
  // The same text of chance has the same number wherever it stands.
  let text = lines.map(([line]) => line).join("\n");
  for (const [kind, shape] of CHANCE) {
    const numbers = new Map();
    text = text.replace(shape, (found) => {
      if (!numbers.has(found)) numbers.set(found, numbers.size + 1);
      return `<${kind} ${numbers.get(found)}>`;
    });
  }
  return text;
}

/** What people do, step by step; after each the storage is looked at. */
async function* flow(server, hook) {
  const [first, second, third] = [server.browser(), server.browser(), server.browser()];
  const credentials = { email: EMAIL, password: PASSWORD };
  await ok(first.call("POST", "/sign-up/email", { body: { name: "Ada", ...credentials } }));
  yield "sign up";
  await ok(second.call("POST", "/sign-in/email", { body: { ...credentials, rememberMe: false } }));
  yield "sign in for a day";
  const { token } = await ok(third.call("POST", "/sign-in/email", { body: credentials }));
  yield "sign in";
  await ok(first.call("POST", "/update-user", { body: { name: "Countess" } }));
  yield "change the user";
  await ok(first.call("POST", "/update-session", { body: { theme: "dark" } }));
  yield "change the session";
  assert.equal((await ok(first.call("GET", "/list-sessions"))).length, 3);
  await ok(first.call("POST", "/revoke-session", { body: { token } }));
  yield "revoke a session";
  await ok(first.call("POST", "/request-password-reset", { body: { email: EMAIL } }));
  const reset = await mailed(hook, 1);
  yield "ask for a new password";
  await ok(first.call("POST", "/reset-password", { body: { token: reset, newPassword: PASSWORD } }));
  yield "set it";
  const { totpURI } = await ok(first.call("POST", "/two-factor/enable", { body: { password: PASSWORD } }));
  await ok(first.call("POST", "/two-factor/verify-totp", { body: { code: totp(totpURI) } }));
  yield "a second factor";
  await ok(third.call("POST", "/sign-in/email", { body: credentials }));
  yield "half a sign-in";
  const next = totp(totpURI, Date.now() + 30_000);
  await ok(third.call("POST", "/two-factor/verify-totp", { body: { code: next, trustDevice: true } }));
  yield "the other half";
  await ok(second.call("POST", "/sign-out", { body: {} }));
  yield "sign out";
  await ok(first.call("POST", "/revoke-other-sessions", { body: {} }));
  yield "end the others";
  await ok(
    first.call("POST", "/change-password", {
      body: { currentPassword: PASSWORD, newPassword: `${PASSWORD}!`, revokeOtherSessions: true },
    }),
  );
  yield "change the password";
  await ok(first.call("POST", "/revoke-sessions", { body: {} }));
  yield "end them all";
}

const KINDS = {
  "in Redis": {},
  "in Redis and the database": {
    session: { storeSessionInDatabase: true },
    verification: { storeInDatabase: true },
  },
  "preserved in the database": { session: { storeSessionInDatabase: true, preserveSessionInDatabase: true } },
  "with hashed identifiers": {
    verification: { storeIdentifier: { default: "plain", overrides: { "reset-password:": "hashed" } } },
  },
};

describe("one Redis", () => {
  for (const [name, over] of Object.entries(KINDS)) {
    test(`sessions and verifications ${name}: the same keys and values`, async (t) => {
      const redis = await startDatabase(t, "redis");
      if (!redis) return;
      const folder = await temporaryFolder(t);
      const sides = [];
      for (const kind of ["peer", "portcullis"]) {
        const hook = await startWebhook(t);
        const database = `sqlite:${path.join(folder, `${kind}.db`)}`;
        const server = await startFor(t, kind, settings(database, redis, `${kind}:`, hook, over));
        sides.push({ prefix: `${kind}:`, steps: flow(server, hook) });
      }
      let compared = 0;
      for (;;) {
        const [peer, own] = [await sides[0].steps.next(), await sides[1].steps.next()];
        assert.equal(own.value, peer.value);
        if (peer.done) break;
        let [theirs, ours] = [
          await dump(redis.client, sides[0].prefix),
          await dump(redis.client, sides[1].prefix),
        ];
        if (peer.value === "change the password" && !selfCheck) {
          // `fields-carried` in COMPATIBILITY.md: nothing but that.
          assert.match(ours, /"theme":"dark"/);
          assert.doesNotMatch(theirs, /"theme":"dark"/);
          [theirs, ours] = [theirs, ours].map((text) => text.replace(/,"theme":("dark"|null)/g, ""));
        }
        assert.equal(ours, theirs, `after: ${peer.value}`);
        compared += theirs === "" ? 0 : 1;
      }
      assert.ok(compared >= 13, `${compared} states were compared`);
    });
  }

  test("limits: the same counters, and the same answer to one too many", async (t) => {
    const redis = await startDatabase(t, "redis");
    if (!redis) return;
    const folder = await temporaryFolder(t);
    const seen = [];
    for (const kind of ["peer", "portcullis"]) {
      const hook = await startWebhook(t);
      const over = { rateLimit: { enabled: true } };
      const database = `sqlite:${path.join(folder, `${kind}.db`)}`;
      const server = await startFor(t, kind, settings(database, redis, `${kind}:`, hook, over));
      const browser = server.browser();
      const headers = { "x-forwarded-for": "203.0.113.7" };
      const answers = [];
      for (let n = 0; n < 5; n++) {
        const body = { email: EMAIL, password: "wrong" };
        const { status, headers: got } = await browser.call("POST", "/sign-in/email", { body, headers });
        answers.push([status, got["x-retry-after"]]);
      }
      seen.push({ answers, stored: await dump(redis.client, `${kind}:`) });
    }
    assert.deepEqual(seen[1], seen[0]);
    assert.deepEqual(seen[0].answers.map(([status]) => status), [401, 401, 401, 429, 429]);
    assert.match(seen[0].stored, /^203\.0\.113\.7\|\/sign-in\/email = 5 for 10 s$/);
  });

  test("what one began the other goes on with, while both serve", async (t) => {
    const redis = await startDatabase(t, "redis");
    if (!redis) return;
    const hook = await startWebhook(t);
    const database = `sqlite:${path.join(await temporaryFolder(t), "both.db")}`;
    const config = settings(database, redis, "both:", hook);
    const peer = await startFor(t, "peer", config);
    const own = await startFor(t, "portcullis", { ...config, migrate: false });
    let number = 0;
    for (const [here, there] of [[peer, own], [own, peer]]) {
      const email = `m${++number}@example.com`;
      const credentials = { email, password: PASSWORD };
      const session = (browser) => ok(browser.call("GET", "/get-session"));
      const first = here.browser();
      await ok(first.call("POST", "/sign-up/email", { body: { name: "M", ...credentials } }));
      const away = first.at(there);
      assert.deepEqual(await session(away), await session(first));

      // Changed there, seen here; and the other way round.
      await ok(away.call("POST", "/update-user", { body: { name: "N" } }));
      assert.equal((await session(first)).user.name, "N");
      await ok(first.call("POST", "/update-session", { body: { theme: "dark" } }));
      assert.equal((await session(away)).session.theme, "dark");
      await ok(away.call("POST", "/update-session", { body: { theme: "light" } }));
      assert.equal((await session(first)).session.theme, "light");

      // Signed in there: listed here, and ended here it is ended there.
      const second = there.browser();
      const { token } = await ok(second.call("POST", "/sign-in/email", { body: credentials }));
      assert.equal((await ok(first.call("GET", "/list-sessions"))).length, 2);
      await ok(first.call("POST", "/revoke-session", { body: { token } }));
      assert.equal(await session(second), null);
      assert.equal((await ok(away.call("GET", "/list-sessions"))).length, 1);

      // Asked for here, used there, once.
      await ok(first.call("POST", "/request-password-reset", { body: { email } }));
      const reset = await mailed(hook, number);
      const body = { token: reset, newPassword: PASSWORD };
      await ok(there.browser().call("POST", "/reset-password", { body }));
      assert.equal((await here.browser().call("POST", "/reset-password", { body })).status, 400);

      // Half signed in here, the other half there; the device that is trusted there is trusted here.
      const { totpURI } = await ok(first.call("POST", "/two-factor/enable", { body: { password: PASSWORD } }));
      await ok(first.call("POST", "/two-factor/verify-totp", { body: { code: totp(totpURI) } }));
      const half = here.browser();
      assert.equal((await ok(half.call("POST", "/sign-in/email", { body: credentials }))).twoFactorRedirect, true);
      const whole = half.at(there);
      const code = totp(totpURI, Date.now() + 30_000);
      await ok(whole.call("POST", "/two-factor/verify-totp", { body: { code, trustDevice: true } }));
      assert.equal((await session(whole.at(here))).user.email, email);
      const trusted = whole.at(here);
      await ok(trusted.call("POST", "/sign-out", { body: {} }));
      assert.equal(await session(whole), null);
      assert.equal((await ok(trusted.call("POST", "/sign-in/email", { body: credentials }))).user.email, email);

      await ok(first.at(there).call("POST", "/revoke-sessions", { body: {} }));
      assert.equal(await session(first), null);
      assert.equal(await session(trusted), null);
    }
    const left = (await redis.client.keys("both:*")).filter((key) => !key.includes("verification:"));
    assert.deepEqual(left, []);
  });

  test("the comparison notices", async (t) => {
    const redis = await startDatabase(t, "redis");
    if (!redis) return;
    const [a, b] = ["a".repeat(32), "b".repeat(32)];
    const put = (prefix, key, value, seconds) => redis.client.setex(`${prefix}${key}`, seconds, value);
    await put("x:", a, `{"id":"${a}","at":1}`, 100);
    await put("y:", b, `{"id":"${b}","at":1}`, 100);
    assert.equal(await dump(redis.client, "x:"), await dump(redis.client, "y:"));
    for (const [value, seconds] of [
      [`{"at":1,"id":"${b}"}`, 100],
      [`{"id":"${a}","at":1}`, 100],
      [`{"id":"${b}","at":1}`, 3_600],
      [`{"id":"${b}","at":"1"}`, 100],
    ]) {
      await put("y:", b, value, seconds);
      assert.notEqual(await dump(redis.client, "x:"), await dump(redis.client, "y:"));
    }
  });
});

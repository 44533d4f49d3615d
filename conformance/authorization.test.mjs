// docs/authorization.md is true: every row is asked as nobody, with an old session, with a fresh one, and
// with a second factor outstanding.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import Database from "better-sqlite3";
import { totp } from "./codes.mjs";
import { configuration, start, startWebhook, temporaryFolder } from "./target.mjs";

const PASSWORD = "correct horse battery";

/** Column → cells, by route. */
function matrix() {
  const text = readFileSync(new URL("../docs/authorization.md", import.meta.url), "utf8");
  const lines = text.split("\n").filter((line) => line.startsWith("|"));
  const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.trim());
  const [, ...columns] = cells(lines[0]);
  return lines.slice(2).map((line) => {
    const [route, ...row] = cells(line);
    return { route: route.replaceAll("`", ""), ...Object.fromEntries(columns.map((column, index) => [column, row[index]])) };
  });
}

/** Bodies that are as they should be; `w` is what is known of the one who asks. */
const bodies = {
  "POST /sign-up/email": (w) => ({ name: "New", email: w.fresh, password: PASSWORD }),
  "POST /sign-in/email": (w) => ({ email: w.email, password: PASSWORD }),
  "POST /sign-in/username": (w) => ({ username: w.username, password: PASSWORD }),
  "POST /is-username-available": () => ({ username: "somebody" }),
  "POST /revoke-session": (w) => ({ token: w.token }),
  "POST /update-session": () => ({ theme: "dark" }),
  "POST /update-user": () => ({ name: "Renamed" }),
  "POST /change-email": (w) => ({ newEmail: w.fresh }),
  "POST /request-password-reset": (w) => ({ email: w.email }),
  "POST /reset-password": () => ({ newPassword: "another good one" }),
  "POST /send-verification-email": (w) => ({ email: w.email }),
  "POST /change-password": () => ({ currentPassword: PASSWORD, newPassword: "another good one" }),
  "POST /verify-password": () => ({ password: PASSWORD }),
  "POST /unlink-account": (w) => ({ accountId: w.account }),
  "POST /multi-session/set-active": (w) => ({ sessionToken: w.token }),
  "POST /multi-session/revoke": (w) => ({ sessionToken: w.token }),
  "POST /signup": (w) => ({ email: w.fresh, password: PASSWORD }),
  "POST /signin": (w) => ({ email: w.email, password: PASSWORD }),
  "POST /token/refresh": () => ({ refresh_token: "unknown" }),
  "POST /two-factor/enable": () => ({ password: PASSWORD, method: "otp" }),
  "POST /two-factor/disable": () => ({ password: PASSWORD }),
  "POST /two-factor/get-totp-uri": () => ({ password: PASSWORD }),
  "POST /two-factor/generate-backup-codes": () => ({ password: PASSWORD }),
  "POST /two-factor/verify-totp": (w) => ({ code: totp(w.totpURI) }),
  "POST /two-factor/verify-otp": (w) => ({ code: w.otp }),
  "POST /two-factor/verify-backup-code": (w) => ({ code: w.backupCodes[0] }),
};

/** Where a mailed link leads whose token nobody has been given. */
const links = {
  "GET /reset-password/{token}": "/reset-password/unknown?callbackURL=/new-password",
  "GET /verify-email": "/verify-email?token=unknown",
  "GET /delete-user/callback": "/delete-user/callback?token=unknown",
};

/** What success is called where it is not 200. */
const successes = { "POST /signup": 201 };

/** The status that a cell asks for. */
function expected(row, column) {
  const cell = row[column];
  const other = /^(?:✓ )?as (anonymous|session)$/.exec(cell);
  if (other) return expected(row, other[1]);
  if (cell.startsWith("✓")) return successes[row.route] ?? 200;
  const status = /^\d{3}/.exec(cell)?.[0];
  assert.ok(status, `${row.route}: \`${cell}\` is neither ✓ nor a status`);
  return Number(status);
}

describe("docs/authorization.md", () => {
  const cleanUp = [];
  const context = { after: (f) => cleanUp.unshift(f) };
  let server;
  let hook;
  let file;
  let count = 0;

  before(async () => {
    file = path.join(await temporaryFolder(context), "auth.db");
    hook = await startWebhook(context);
    server = await start(
      "portcullis",
      configuration(`sqlite:${file}`, {
        session: { additionalFields: { theme: { type: "string", required: false } } },
        emailAndPassword: { enabled: true, sendResetPassword: { webhook: hook.url } },
        emailVerification: { sendVerificationEmail: { webhook: hook.url } },
        user: { changeEmail: { enabled: true }, deleteUser: { enabled: true } },
        account: { accountLinking: { allowUnlinkingAll: true } },
        plugins: {
          anonymous: {}, username: {}, jwt: {}, bearer: {}, multiSession: {}, tokenApi: {},
          twoFactor: { otpOptions: { sendOTP: { webhook: hook.url } } },
        },
      }),
    );
    context.after(() => server.stop());
  });
  after(async () => {
    for (const f of cleanUp) await f();
  });

  async function fine(promise) {
    const answer = await promise;
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
  }

  /** Somebody signed up, with the second factor on for routes that are about it. */
  async function person(route) {
    const number = (count += 1);
    const who = { email: `p${number}@example.com`, username: `person_${number}`, fresh: `new${number}@example.com` };
    const owner = server.browser();
    const body = { name: "Person", password: PASSWORD, email: who.email, username: who.username };
    who.token = (await fine(owner.call("POST", "/sign-up/email", { body }))).token;
    who.account = (await fine(owner.call("GET", "/list-accounts")))[0].id;
    if (route.includes("/two-factor/") && !route.endsWith("/enable")) {
      Object.assign(who, await fine(owner.call("POST", "/two-factor/enable", { body: { password: PASSWORD } })));
      const verified = await fine(owner.call("POST", "/two-factor/verify-totp", { body: { code: totp(who.totpURI) } }));
      // The session was renewed.
      who.token = (await fine(owner.call("GET", "/get-session"))).session.token;
      assert.ok(verified.user);
    }
    return { ...who, owner };
  }

  /** Half a sign-in of a person whose second factor is on. */
  async function pending(who) {
    if (!who.totpURI) {
      const enabled = await fine(who.owner.call("POST", "/two-factor/enable", { body: { password: PASSWORD } }));
      who.totpURI = enabled.totpURI;
      await fine(who.owner.call("POST", "/two-factor/verify-totp", { body: { code: totp(who.totpURI) } }));
    }
    const browser = server.browser();
    const half = await fine(browser.call("POST", "/sign-in/email", { body: { email: who.email, password: PASSWORD } }));
    assert.equal(half.twoFactorRedirect, true);
    return browser;
  }

  function age(token) {
    const database = new Database(file);
    const then = new Date(Date.now() - 2 * 86_400_000).toISOString();
    const { changes } = database.prepare("update session set createdAt = ? where token = ?").run(then, token);
    database.close();
    assert.equal(changes, 1, "the session is there to be aged");
  }

  const browsers = {
    async anonymous() {
      return server.browser();
    },
    async session(who) {
      age(who.token);
      return who.owner;
    },
    async "fresh session"(who) {
      return who.owner;
    },
    pending,
  };

  for (const row of matrix()) {
    for (const column of Object.keys(browsers)) {
      test(`${row.route}: ${column}`, async () => {
        const who = await person(row.route);
        const browser = await browsers[column](who);
        const wanted = expected(row, column);
        if (row.route.endsWith("/verify-otp") && wanted === 200) {
          await fine(browser.call("POST", "/two-factor/send-otp", { body: {} }));
          who.otp = hook.calls.at(-1).args[0].otp;
        }
        who.otp ??= "000000";
        const [method, route] = row.route.split(" ");
        const body = bodies[row.route]?.(who) ?? (method === "POST" ? {} : undefined);
        const answer = await browser.call(method, links[row.route] ?? route, { body });
        // A link sends its visitor on.
        assert.equal(answer.status, wanted === 200 && links[row.route] ? 302 : wanted, answer.text);
      });
    }
  }
});

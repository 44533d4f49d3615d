// Everything that goes by mail: forgotten passwords, proving and changing an address, deleting oneself.
import { ORIGIN, SECRET } from "../target.mjs";
import { SignJWT } from "jose";
import { actors, OTHER_PASSWORD, PASSWORD, staged } from "./actors.mjs";
import { families, situations, stories } from "./family.mjs";

const DAY = 86_400;

/** All functions that are told of mails, and hooks around them. */
const mailing = (over = {}) => (hook) => ({
  // When expired rows are swept is each server's own (`purge` in COMPATIBILITY.md).
  verification: { disableCleanup: true },
  emailAndPassword: { enabled: true, sendResetPassword: hook, onPasswordReset: hook, ...over.emailAndPassword },
  emailVerification: { sendVerificationEmail: hook, ...over.emailVerification },
  user: {
    changeEmail: { enabled: true, ...over.changeEmail?.(hook) },
    deleteUser: { enabled: true, ...over.deleteUser?.(hook) },
  },
  ...over.top,
});

const forgot = (browser, email, more = {}) => staged(browser.post("/request-password-reset", { email, ...more }));

Object.assign(actors, {
  /** Has asked for a new password. */
  async forgetful(stage) {
    const known = await actors.known(stage);
    await forgot(known.browser, known.email, { redirectTo: "/new-password" });
    return { ...known, ...stage.mail("sendResetPassword") };
  },
  /** Has been mailed a link that proves the address. */
  async unproven(stage) {
    const member = await actors.member(stage);
    await staged(member.browser.post("/send-verification-email", { email: member.email, callbackURL: "/welcome" }));
    return { ...member, ...stage.mail("sendVerificationEmail") };
  },
  async proven(stage) {
    const member = await actors.unproven(stage);
    await member.browser.open(member.url);
    return member;
  },
  /** A member whose session is older than a day. */
  async stale(stage) {
    const member = await actors.member(stage);
    stage.later(2 * DAY);
    return member;
  },
  /** Wants another address, whose owner has been mailed. */
  async moving(stage) {
    const member = await actors.member(stage);
    await staged(member.browser.post("/change-email", { newEmail: `moved${stage.number}@example.com`, callbackURL: "/moved" }));
    return { ...member, moved: `moved${stage.number}@example.com`, ...stage.mail("sendVerificationEmail") };
  },
  /** Wants to be deleted, and has been mailed. */
  async leaving(stage) {
    const member = await actors.member(stage);
    await staged(member.browser.post("/delete-user", { callbackURL: "/bye" }));
    return { ...member, ...stage.mail("sendDeleteAccountVerification") };
  },
  /** Somebody else's mail in one's own browser. */
  async thief(stage) {
    const leaving = await actors.leaving(stage);
    const other = await actors.member({ ...view(stage), number: `${stage.number}x` });
    return { ...leaving, browser: other.browser };
  },
});

/** The same stage under another number, so that addresses differ. */
const view = (stage) => ({ browser: (...names) => stage.browser(...names), number: stage.number });

/** A mailed token as the server signs it, with whatever inside. */
const token = (payload, { stage, secret = SECRET, lasts = 3600 } = {}) => {
  const at = Math.floor(stage.now / 1000);
  return new SignJWT(payload).setProtectedHeader({ alg: "HS256" }).setIssuedAt(at).setExpirationTime(at + lasts).sign(new TextEncoder().encode(secret));
};

const reset = (w) => ({ newPassword: OTHER_PASSWORD, token: w.token });
const signIn = (browser, email, password) => browser.post("/sign-in/email", { email, password });

const password = [
  ...families([
    { route: "POST /request-password-reset", as: "known", open: true, required: ["email"], body: (w) => ({ email: w.email, redirectTo: "/new" }) },
    { route: "POST /reset-password", as: "forgetful", open: true, required: ["newPassword", "token"], body: reset },
  ]),
  ...situations([
    ["an unknown address", "nobody", "POST /request-password-reset", { body: { email: "nobody@example.com" } }],
    ["another case", "known", "POST /request-password-reset", { body: (w) => ({ email: w.email.toUpperCase() }) }],
    ["not an address", "nobody", "POST /request-password-reset", { body: { email: "ada" } }],
    ["sent on elsewhere", "known", "POST /request-password-reset", { body: (w) => ({ email: w.email, redirectTo: "https://evil.example/x" }) }],
    ["sent on with a host that hides", "known", "POST /request-password-reset", { body: (w) => ({ email: w.email, redirectTo: "//evil.example" }) }],
    ["sent on with a query", "known", "POST /request-password-reset", { body: (w) => ({ email: w.email, redirectTo: "/new?a=1&b=ü c" }) }],
    ["sent on to this origin", "known", "POST /request-password-reset", { body: (w) => ({ email: w.email, redirectTo: `${ORIGIN}/new` }) }],
    ["sent on to nothing", "known", "POST /request-password-reset", { body: (w) => ({ email: w.email, redirectTo: "" }) }],
    ["while signed in", "member", "POST /request-password-reset", { body: (w) => ({ email: w.email }) }],
    ["a form", "known", "POST /request-password-reset", { headers: { "content-type": "application/x-www-form-urlencoded" }, text: (w) => `email=${encodeURIComponent(w.email)}` }],
    ["the token in the query", "forgetful", "POST /reset-password", { query: (w) => ({ token: w.token }), body: { newPassword: OTHER_PASSWORD } }],
    ["two tokens, of which the body's is good", "forgetful", "POST /reset-password", { query: { token: "nothing" }, body: reset }],
    ["an empty token, and a good one in the query", "forgetful", "POST /reset-password", { query: (w) => ({ token: w.token }), body: { newPassword: OTHER_PASSWORD, token: "" } }],
    ["an unknown token", "nobody", "POST /reset-password", { body: { newPassword: OTHER_PASSWORD, token: "x".repeat(24) } }],
    ["a short password", "forgetful", "POST /reset-password", { body: (w) => ({ ...reset(w), newPassword: "short" }) }],
    ["a long password", "forgetful", "POST /reset-password", { body: (w) => ({ ...reset(w), newPassword: "x".repeat(129) }) }],
    ["an empty password", "forgetful", "POST /reset-password", { body: (w) => ({ ...reset(w), newPassword: "" }) }],
    ["a link, and where it leads", "forgetful", "GET /reset-password/{token}", { path: (w) => `/reset-password/${w.token}`, query: { callbackURL: "/new-password" } }],
    ["an unknown token", "nobody", "GET /reset-password/{token}", { path: "/reset-password/unknown", query: { callbackURL: "/new-password" } }],
    ["without a callback", "forgetful", "GET /reset-password/{token}", { path: (w) => `/reset-password/${w.token}` }],
    ["an empty callback", "forgetful", "GET /reset-password/{token}", { path: (w) => `/reset-password/${w.token}`, query: { callbackURL: "" } }],
    ["a callback elsewhere", "forgetful", "GET /reset-password/{token}", { path: (w) => `/reset-password/${w.token}`, query: { callbackURL: "https://evil.example/" } }],
    ["a callback with a query", "forgetful", "GET /reset-password/{token}", { path: (w) => `/reset-password/${w.token}`, query: { callbackURL: "/new?a=1&token=mine#part" } }],
    ["a callback at this origin", "forgetful", "GET /reset-password/{token}", { path: (w) => `/reset-password/${w.token}`, query: { callbackURL: `${ORIGIN}/new` } }],
    ["two callbacks", "forgetful", "GET /reset-password/{token}", { path: (w) => `/reset-password/${w.token}`, query: [["callbackURL", "/a"], ["callbackURL", "/b"]] }],
    ["the wrong method", "forgetful", "POST /reset-password/{token}", { path: (w) => `/reset-password/${w.token}`, body: {} }],
    ["an empty token", "nobody", "GET /reset-password/{token}", { path: "/reset-password/", query: { callbackURL: "/new-password" } }],
  ]),
  ...stories([
    ["once only", "POST /reset-password", async (stage) => {
      const w = await actors.forgetful(stage);
      await staged(w.browser.post("/reset-password", reset(w)));
      await w.browser.post("/reset-password", reset(w));
    }],
    ["too late", "POST /reset-password", async (stage) => {
      const w = await actors.forgetful(stage);
      stage.later(3601);
      await w.browser.post("/reset-password", reset(w));
    }],
    ["at the last moment", "POST /reset-password", async (stage) => {
      const w = await actors.forgetful(stage);
      stage.later(3598);
      await w.browser.post("/reset-password", reset(w));
    }],
    ["too late for the link", "GET /reset-password/{token}", async (stage) => {
      const w = await actors.forgetful(stage);
      stage.later(3601);
      await w.browser.open(w.url);
    }],
    ["the link of a mail", "GET /reset-password/{token}", async (stage) => {
      const w = await actors.forgetful(stage);
      await w.browser.open(w.url);
    }],
    ["after the password was set", "GET /reset-password/{token}", async (stage) => {
      const w = await actors.forgetful(stage);
      await staged(w.browser.post("/reset-password", reset(w)));
      await w.browser.open(w.url);
    }],
    ["the older of two mails", "POST /reset-password", async (stage) => {
      const w = await actors.forgetful(stage);
      await forgot(w.browser, w.email);
      await w.browser.post("/reset-password", reset(w));
    }],
    ["and the old password", "POST /reset-password", async (stage) => {
      const w = await actors.forgetful(stage);
      await staged(w.browser.post("/reset-password", reset(w)));
      await signIn(w.browser, w.email, PASSWORD);
      await signIn(w.browser, w.email, OTHER_PASSWORD);
    }],
    ["of somebody who is gone", "POST /reset-password", async (stage) => {
      const w = await actors.member(stage);
      await forgot(w.browser, w.email);
      await staged(w.browser.post("/delete-user", { password: PASSWORD }));
      await w.browser.post("/reset-password", { newPassword: OTHER_PASSWORD, token: stage.mail("sendResetPassword").token });
    }],
  ]),
];

const verify = (w) => ({ token: w.token, callbackURL: "/welcome" });

/** A story about a token that is made here. */
const forged = (payload, options) => async (stage) => {
  const w = await actors.member(stage);
  const jwt = await token(payload(w), { stage, ...options });
  await w.browser.get("/verify-email", { token: jwt, callbackURL: "/welcome" });
};

const address = [
  ...families([
    { route: "POST /send-verification-email", as: "member", open: true, required: ["email"], body: (w) => ({ email: w.email, callbackURL: "/welcome" }) },
    { route: "GET /verify-email", as: "unproven", open: true, status: 302, query: verify },
  ]),
  ...situations([
    ["nobody, an address that is not proven", "known", "POST /send-verification-email", { body: (w) => ({ email: w.email }) }],
    ["nobody, an unknown address", "nobody", "POST /send-verification-email", { body: { email: "nobody@example.com" } }],
    ["another's address", "member", "POST /send-verification-email", { body: { email: "another@example.com" } }],
    ["not an address", "member", "POST /send-verification-email", { body: { email: "ada" } }],
    ["another case", "member", "POST /send-verification-email", { body: (w) => ({ email: w.email.toUpperCase() }) }],
    ["proven already", "proven", "POST /send-verification-email", { body: (w) => ({ email: w.email }) }],
    ["nobody, proven already", "proven", "POST /send-verification-email", { browser: "new", body: (w) => ({ email: w.email }) }],
    ["a callback elsewhere", "member", "POST /send-verification-email", { body: (w) => ({ email: w.email, callbackURL: "https://evil.example" }) }],
    ["a callback with a query", "member", "POST /send-verification-email", { body: (w) => ({ email: w.email, callbackURL: "/welcome?a=1&b=ü" }) }],
    ["without a callback", "unproven", "GET /verify-email", { query: (w) => ({ token: w.token }) }],
    ["in another browser", "unproven", "GET /verify-email", { browser: "new", query: verify }],
    ["in another browser, without a callback", "unproven", "GET /verify-email", { browser: "new", query: (w) => ({ token: w.token }) }],
    ["a callback elsewhere", "unproven", "GET /verify-email", { query: (w) => ({ token: w.token, callbackURL: "https://evil.example" }) }],
    ["not a token", "nobody", "GET /verify-email", { query: { token: "abc" } }],
    ["not a token, and a callback", "nobody", "GET /verify-email", { query: { token: "abc", callbackURL: "/welcome?a=1" } }],
    ["not a token, and a callback at this origin", "nobody", "GET /verify-email", { query: { token: "abc", callbackURL: `${ORIGIN}/welcome#part` } }],
    ["proven already", "proven", "GET /verify-email", { query: verify }],
    ["proven already, without a callback", "proven", "GET /verify-email", { query: (w) => ({ token: w.token }) }],
  ]),
  ...stories([
    ["too late", "GET /verify-email", async (stage) => {
      const w = await actors.unproven(stage);
      stage.later(3601);
      await w.browser.open(w.url);
    }],
    ["too late, without a callback", "GET /verify-email", async (stage) => {
      const w = await actors.unproven(stage);
      stage.later(3601);
      await w.browser.get("/verify-email", { token: w.token });
    }],
    ["twice", "GET /verify-email", async (stage) => {
      const w = await actors.unproven(stage);
      await w.browser.open(w.url);
      await w.browser.open(w.url);
    }],
    ["by a browser of somebody else", "GET /verify-email", async (stage) => {
      const w = await actors.unproven(stage);
      const other = await actors.member({ ...view(stage), number: `${stage.number}x` });
      await other.browser.open(w.url);
    }],
    ["of somebody who is gone", "GET /verify-email", async (stage) => {
      const w = await actors.unproven(stage);
      await staged(w.browser.post("/delete-user", { password: PASSWORD }));
      await w.browser.open(w.url);
    }],
    ["a token under another secret", "GET /verify-email", forged((w) => ({ email: w.email }), { secret: "another-secret-0123456789-ABCDEFGHIJ" })],
    ["a token of an unknown address", "GET /verify-email", forged(() => ({ email: "nobody@example.com" }))],
    ["a token without an address", "GET /verify-email", forged(() => ({ name: "Ada" }))],
    ["a token of something that is no address", "GET /verify-email", forged(() => ({ email: "ada" }))],
    ["a token of an address in another case", "GET /verify-email", forged((w) => ({ email: w.email.toUpperCase() }))],
    ["a token that has expired", "GET /verify-email", forged((w) => ({ email: w.email }), { lasts: -10 })],
    ["a token without a signature", "GET /verify-email", async (stage) => {
      const w = await actors.unproven(stage);
      const [, payload] = w.token.split(".");
      const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
      await w.browser.get("/verify-email", { token: `${none}.${payload}.`, callbackURL: "/welcome" });
    }],
  ]),
];

const change = [
  ...families([
    { route: "POST /change-email", as: "member", required: ["newEmail"],
      body: (w) => ({ newEmail: `moved-${w.email}`, callbackURL: "/moved" }) },
  ]),
  ...situations([
    ["one's own", "member", "POST /change-email", { body: (w) => ({ newEmail: w.email.toUpperCase() }) }],
    ["a taken one", "travelling", "POST /change-email", { body: { newEmail: "taken@example.com" } }],
    ["not an address", "member", "POST /change-email", { body: { newEmail: "ada" } }],
    ["a callback elsewhere", "member", "POST /change-email", { body: (w) => ({ newEmail: `moved-${w.email}`, callbackURL: "https://evil.example" }) }],
    ["without a callback", "member", "POST /change-email", { body: (w) => ({ newEmail: `MOVED-${w.email}` }) }],
    ["with a proven address", "proven", "POST /change-email", { body: (w) => ({ newEmail: `moved-${w.email}`, callbackURL: "/moved" }) }],
  ]),
  ...stories([
    ["the link", "POST /change-email", async (stage) => {
      const w = await actors.moving(stage);
      await w.browser.open(w.url);
      await w.browser.get("/get-session");
    }],
    ["the link without a callback", "POST /change-email", async (stage) => {
      const w = await actors.moving(stage);
      await w.browser.get("/verify-email", { token: w.token });
    }],
    ["the link twice", "POST /change-email", async (stage) => {
      const w = await actors.moving(stage);
      await w.browser.open(w.url);
      await w.browser.open(w.url);
    }],
    ["the link too late", "POST /change-email", async (stage) => {
      const w = await actors.moving(stage);
      stage.later(3601);
      await w.browser.open(w.url);
    }],
    ["the link in another browser", "POST /change-email", async (stage) => {
      const w = await actors.moving(stage);
      await stage.browser().open(w.url);
    }],
    ["the link in the browser of somebody else", "POST /change-email", async (stage) => {
      const w = await actors.moving(stage);
      const other = await actors.member({ ...view(stage), number: `${stage.number}x` });
      await other.browser.open(w.url);
    }],
    ["the link after the address was taken", "POST /change-email", async (stage) => {
      const w = await actors.moving(stage);
      await staged(stage.browser().post("/sign-up/email", { name: "First", email: w.moved, password: PASSWORD }));
      await w.browser.open(w.url);
    }],
    ["a taken address", "POST /change-email", async (stage) => {
      const w = await actors.member(stage);
      const other = await actors.member({ ...view(stage), number: `${stage.number}x` });
      await w.browser.post("/change-email", { newEmail: other.email });
    }],
  ]),
];

/** What changes with settings; each story in a group of its own. */
const moving = (name) => stories([
  [`${name}, an address that is not proven`, "POST /change-email", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/change-email", { newEmail: `moved-${w.email}`, callbackURL: "/moved" });
    await w.browser.get("/get-session");
  }],
  [`${name}, a proven address`, "POST /change-email", async (stage) => {
    const w = await actors.proven(stage);
    await w.browser.post("/change-email", { newEmail: `moved-${w.email}`, callbackURL: "/moved" });
    const last = stage.hook.calls.at(-1);
    await w.browser.open(last.args[0].url);
    await w.browser.open(stage.hook.calls.at(-1).args[0].url);
    await w.browser.get("/get-session");
  }],
  [`${name}, a taken address`, "POST /change-email", async (stage) => {
    const w = await actors.member(stage);
    const other = await actors.member({ ...view(stage), number: `${stage.number}x` });
    await w.browser.post("/change-email", { newEmail: other.email });
  }],
]);

const remove = [
  ...families([
    { route: "POST /delete-user", as: "member", body: () => ({ password: PASSWORD, callbackURL: "/bye" }) },
  ]),
  ...situations([
    ["a fresh session", "member", "POST /delete-user", { body: {} }],
    ["an old session", "stale", "POST /delete-user", { body: {} }],
    ["an old session and the password", "stale", "POST /delete-user", { body: { password: PASSWORD } }],
    ["a wrong password", "member", "POST /delete-user", { body: { password: "wrong horse battery" } }],
    ["a long password", "member", "POST /delete-user", { body: { password: "x".repeat(129) } }],
    ["an empty password and an old session", "stale", "POST /delete-user", { body: { password: "" } }],
    ["an unknown token", "member", "POST /delete-user", { body: { token: "unknown" } }],
    ["three sessions", "travelling", "POST /delete-user", { body: { password: PASSWORD } }],
    ["a callback elsewhere", "member", "POST /delete-user", { body: { callbackURL: "https://evil.example" } }],
    ["nothing at all", "member", "POST /delete-user", {}],
    ["an unknown token", "member", "GET /delete-user/callback", { query: { token: "unknown" } }],
  ]),
];

const removeByMail = [
  ...families([
    { route: "GET /delete-user/callback", as: "leaving", status: 302, query: (w) => ({ token: w.token, callbackURL: "/bye" }) },
  ]),
  ...situations([
    ["by mail", "member", "POST /delete-user", { body: { callbackURL: "/bye" } }],
    ["by mail, with the password", "member", "POST /delete-user", { body: { password: PASSWORD } }],
    ["by mail, with a wrong password", "member", "POST /delete-user", { body: { password: "wrong horse battery" } }],
    ["by mail, with an old session", "stale", "POST /delete-user", { body: {} }],
    ["by mail, a callback elsewhere", "member", "POST /delete-user", { body: { callbackURL: "https://evil.example" } }],
    ["the mailed token in the body", "leaving", "POST /delete-user", { body: (w) => ({ token: w.token }) }],
    ["another's mailed token in the body", "thief", "POST /delete-user", { body: (w) => ({ token: w.token }) }],
    ["without a callback", "leaving", "GET /delete-user/callback", { query: (w) => ({ token: w.token }) }],
    ["a callback elsewhere", "leaving", "GET /delete-user/callback", { query: (w) => ({ token: w.token, callbackURL: "https://evil.example" }) }],
    ["another's mail", "thief", "GET /delete-user/callback", { query: (w) => ({ token: w.token }) }],
  ]),
  ...stories([
    ["the link of the mail", "GET /delete-user/callback", async (stage) => {
      const w = await actors.leaving(stage);
      await w.browser.open(w.url);
    }],
    ["twice", "GET /delete-user/callback", async (stage) => {
      const w = await actors.leaving(stage);
      const copy = w.browser.copy();
      await w.browser.open(w.url);
      await copy.open(w.url);
    }],
    ["after another's try", "GET /delete-user/callback", async (stage) => {
      const w = await actors.leaving(stage);
      const other = await actors.member({ ...view(stage), number: `${stage.number}x` });
      await other.browser.open(w.url);
      await w.browser.open(w.url);
    }],
    ["too late", "GET /delete-user/callback", async (stage) => {
      const w = await actors.leaving(stage);
      stage.later(DAY + 1);
      await w.browser.open(w.url);
    }],
  ]),
];

/** Sign-up and sign-in where an address has to be proven first. */
const proving = (name) => stories([
  [`${name}, as it should be`, "POST /sign-up/email", async (stage) => {
    const browser = stage.browser();
    const email = `p${stage.number}@example.com`;
    await browser.post("/sign-up/email", { name: "Ada", email, password: PASSWORD, callbackURL: "/welcome" });
    await browser.post("/sign-in/email", { email, password: PASSWORD, callbackURL: "/in" });
    await browser.post("/sign-in/email", { email, password: "wrong horse battery" });
    await browser.open(stage.mail("sendVerificationEmail").url);
    await browser.get("/get-session");
    await browser.post("/sign-in/email", { email, password: PASSWORD });
  }],
  [`${name}, a taken address`, "POST /sign-up/email", async (stage) => {
    const body = { name: "Ada", email: `p${stage.number}@example.com`, password: PASSWORD };
    await stage.browser().post("/sign-up/email", body);
    await stage.browser().post("/sign-up/email", { ...body, name: "Eve", image: "https://example.com/eve.png" });
  }],
]);

const functions = (answer, name) => ({
  group: name, answer, config: mailing({
    emailVerification: {}, changeEmail: (hook) => ({ sendChangeEmailConfirmation: hook }),
    deleteUser: (hook) => ({ beforeDelete: hook, afterDelete: hook }),
  }),
});

const refusal = { error: { status: "FORBIDDEN", message: "Not you", code: "NOT_YOU" } };

export default [
  { group: "forgotten passwords", config: mailing(), cases: password },
  { group: "forgotten passwords, short-lived, ending sessions",
    config: mailing({ emailAndPassword: { resetPasswordTokenExpiresIn: 60, revokeSessionsOnPasswordReset: true } }),
    cases: stories([
      ["ending all sessions", "POST /reset-password", async (stage) => {
        const w = await actors.travelling(stage);
        await forgot(w.browser, w.email);
        await w.browser.post("/reset-password", { newPassword: OTHER_PASSWORD, token: stage.mail("sendResetPassword").token });
        await w.second.get("/get-session");
      }],
      ["too late after a minute", "POST /reset-password", async (stage) => {
        const w = await actors.forgetful(stage);
        stage.later(61);
        await w.browser.post("/reset-password", reset(w));
      }],
    ]) },
  { group: "nothing by mail", config: () => ({ user: { changeEmail: { enabled: true } } }),
    cases: situations([
      ["not offered", "known", "POST /request-password-reset", { body: (w) => ({ email: w.email }) }],
      ["not offered", "member", "POST /send-verification-email", { body: (w) => ({ email: w.email }) }],
      ["nobody to mail", "member", "POST /change-email", { body: { newEmail: "new@example.com" } }],
      ["not offered", "member", "POST /delete-user", { body: { password: PASSWORD } }],
      ["not offered, a bad form", "member", "POST /delete-user", { body: { password: 1 } }],
      ["not offered", "member", "GET /delete-user/callback", { query: { token: "x" } }],
      ["not offered, a link", "known", "GET /reset-password/{token}", { path: "/reset-password/x", query: { callbackURL: "/" } }],
    ]) },
  { group: "no change of address", config: mailing({ top: { user: {} } }),
    cases: situations([["not offered", "member", "POST /change-email", { body: { newEmail: "new@example.com" } }]]) },
  { group: "proving an address", config: mailing(), cases: address },
  { group: "proving an address signs in", config: (hook) => mailing({
      emailVerification: { autoSignInAfterVerification: true, beforeEmailVerification: hook, afterEmailVerification: hook, expiresIn: 60 } })(hook),
    cases: stories([
      ["signing in, in another browser", "GET /verify-email", async (stage) => {
        const w = await actors.unproven(stage);
        await stage.browser().open(w.url);
      }],
      ["signing in, in one's own browser", "GET /verify-email", async (stage) => {
        const w = await actors.unproven(stage);
        await w.browser.open(w.url);
      }],
      ["signing in, in a browser of somebody else", "GET /verify-email", async (stage) => {
        const w = await actors.unproven(stage);
        const other = await actors.member({ ...view(stage), number: `${stage.number}x` });
        await other.browser.open(w.url);
      }],
      ["signing in, in a browser whose session was not to be remembered", "GET /verify-email", async (stage) => {
        const w = await actors.unproven(stage);
        const other = await actors.known({ ...view(stage), number: `${stage.number}x` });
        await other.browser.post("/sign-in/email", { email: other.email, password: PASSWORD, rememberMe: false });
        await other.browser.open(w.url);
      }],
      ["signing in, too late after a minute", "GET /verify-email", async (stage) => {
        const w = await actors.unproven(stage);
        stage.later(61);
        await stage.browser().open(w.url);
      }],
    ]) },
  { group: "proven addresses only", config: mailing({ emailAndPassword: { requireEmailVerification: true } }), cases: proving("proven addresses only") },
  { group: "proven addresses only, told of again", config: (hook) => mailing({
      emailAndPassword: { requireEmailVerification: true, onExistingUserSignUp: hook }, emailVerification: { sendOnSignIn: true, autoSignInAfterVerification: true } })(hook),
    cases: proving("told again") },
  { group: "mail at sign-up", config: mailing({ emailVerification: { sendOnSignUp: true } }), cases: proving("mail at sign-up") },
  { group: "no session at sign-up", config: mailing({ emailAndPassword: { autoSignIn: false } }),
    cases: stories([["no session", "POST /sign-up/email", async (stage) => {
      const body = { name: "Ada", email: `p${stage.number}@example.com`, password: PASSWORD };
      await stage.browser().post("/sign-up/email", body);
      await stage.browser().post("/sign-up/email", body);
    }]]) },
  { group: "changing an address", config: mailing(), cases: change },
  { group: "changing an address at once", config: mailing({ changeEmail: () => ({ updateEmailWithoutVerification: true }) }), cases: moving("at once") },
  { group: "changing an address at once, without mail",
    config: () => ({ user: { changeEmail: { enabled: true, updateEmailWithoutVerification: true } } }),
    cases: moving("at once, without mail").filter((one) => !one.name.includes("a proven")) },
  { group: "changing an address after asking the old one",
    config: mailing({ changeEmail: (hook) => ({ sendChangeEmailConfirmation: hook }) }), cases: moving("asked at the old one") },
  { group: "deleting oneself", config: mailing({ deleteUser: (hook) => ({ beforeDelete: hook, afterDelete: hook }) }), cases: remove },
  { group: "deleting oneself by mail", config: mailing({ deleteUser: (hook) => ({ sendDeleteAccountVerification: hook, beforeDelete: hook, afterDelete: hook }) }), cases: removeByMail },
  { group: "any session is fresh", config: mailing({ top: { session: { freshAge: 0 } } }),
    cases: situations([["any session is fresh", "stale", "POST /delete-user", { body: {} }], ["any session is fresh", "stale", "GET /list-sessions", {}]]) },
  { ...functions(({ callback }) => (/beforeDelete|beforeEmail|onPasswordReset/.test(callback) ? refusal : { result: null }), "functions that refuse"),
    config: (hook) => mailing({ emailVerification: { beforeEmailVerification: hook }, deleteUser: (url) => ({ beforeDelete: url }) })(hook),
    cases: stories([
      ["refused by a function", "POST /delete-user", async (stage) => {
        const w = await actors.member(stage);
        await w.browser.post("/delete-user", { password: PASSWORD });
      }],
      ["refused by a function", "GET /verify-email", async (stage) => {
        const w = await actors.unproven(stage);
        await w.browser.open(w.url);
      }],
      ["refused by a function afterwards", "POST /reset-password", async (stage) => {
        const w = await actors.forgetful(stage);
        await w.browser.post("/reset-password", reset(w));
      }],
    ]) },
  { ...functions(() => refusal, "mails that are refused"),
    cases: stories([
      ["the mail is refused", "POST /send-verification-email", async (stage) => {
        const w = await actors.member(stage);
        await w.browser.post("/send-verification-email", { email: w.email });
      }],
      ["the mail is refused", "POST /request-password-reset", async (stage) => {
        const w = await actors.known(stage);
        await w.browser.post("/request-password-reset", { email: w.email });
      }],
      ["the mail is refused", "POST /change-email", async (stage) => {
        const w = await actors.member(stage);
        await w.browser.post("/change-email", { newEmail: `moved-${w.email}` });
      }],
    ]) },
];

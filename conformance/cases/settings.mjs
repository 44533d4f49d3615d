// Settings that change answers: origins, limits, cookies, sessions, paths, functions of the operator.
import { actors, OTHER_PASSWORD, PASSWORD, staged } from "./actors.mjs";
import { families, situations, stories } from "./family.mjs";

const DAY = 86_400;

const credentials = (stage, more = {}) => ({ name: "Ada", email: `a${stage.number}@example.com`, password: PASSWORD, ...more });
const signIn = (w, more = {}) => ({ email: w.email, password: PASSWORD, ...more });

// ---- the room of anonymous visitors -----------------------------------------------------------------

Object.assign(actors, {
  async visitor(stage) {
    const browser = stage.browser();
    return { browser, ...(await staged(browser.post("/sign-in/anonymous", {}))) };
  },
});

const anonymous = [
  ...families([
    { route: "POST /sign-in/anonymous", as: "nobody", open: true, body: () => ({}) },
    { route: "POST /delete-anonymous-user", as: "visitor", body: () => ({}) },
  ]),
  ...situations([
    ["again", "visitor", "POST /sign-in/anonymous", { body: {} }],
    ["without a body", "nobody", "POST /sign-in/anonymous", {}],
    ["while signed in", "member", "POST /sign-in/anonymous", { body: {} }],
    ["somebody real", "member", "POST /delete-anonymous-user", { body: {} }],
    ["an anonymous visitor", "visitor", "GET /get-session", {}],
    ["an anonymous visitor", "visitor", "POST /update-user", { body: { name: "Known" } }],
    ["the mark of an anonymous user", "visitor", "POST /update-user", { body: { isAnonymous: false } }],
    ["an anonymous visitor signs out", "visitor", "POST /sign-out", { body: {} }],
  ]),
  ...stories([
    ["an anonymous visitor becomes somebody", "POST /sign-up/email", async (stage) => {
      const w = await actors.visitor(stage);
      await w.browser.post("/sign-up/email", credentials(stage));
    }],
    ["an anonymous visitor is known already", "POST /sign-in/email", async (stage) => {
      const known = await actors.known(stage);
      const w = await actors.visitor(stage);
      await w.browser.post("/sign-in/email", signIn(known));
    }],
    ["an anonymous visitor and a wrong password", "POST /sign-in/email", async (stage) => {
      const known = await actors.known(stage);
      const w = await actors.visitor(stage);
      await w.browser.post("/sign-in/email", { email: known.email, password: OTHER_PASSWORD });
      await w.browser.get("/get-session");
    }],
    ["in a browser whose session was ended elsewhere", "POST /sign-in/email", async (stage) => {
      const w = await actors.travelling(stage);
      await w.browser.post("/revoke-other-sessions");
      await w.second.post("/sign-in/email", signIn(w));
    }],
    ["in a browser whose session was not to be remembered", "POST /sign-in/anonymous", async (stage) => {
      const w = await actors.known(stage);
      await w.browser.post("/sign-in/email", { email: w.email, password: PASSWORD, rememberMe: false });
      await w.browser.post("/sign-in/anonymous", {});
    }],
    ["twice", "POST /delete-anonymous-user", async (stage) => {
      const w = await actors.visitor(stage);
      const copy = w.browser.copy();
      await w.browser.post("/delete-anonymous-user");
      await copy.post("/delete-anonymous-user");
    }],
  ]),
];

const anonymously = (options) => (hook) => ({ plugins: { anonymous: options(hook) } });

// ---- origins ------------------------------------------------------------------------------------------

const TRUSTED = ["https://app.example.com", "https://*.wild.example", "*.host.example", "https://deep.**.example.org", "myapp://", "http://localhost:40?0", "https://port.example:8443"];

const ORIGINS = [
  "https://app.example.com", "http://app.example.com", "https://app.example.com:444", "https://app.example.com.evil.example", "https://evil.example/app.example.com",
  "https://a.wild.example", "https://a.b.wild.example", "https://wild.example", "http://a.wild.example", "https://a.wild.example.evil.example", "https://awild.example",
  "https://a.host.example", "http://a.host.example", "https://a.host.example:8443", "https://deep.x.example.org", "https://deep.x.y.example.org",
  "myapp://", "myapp://host", "otherapp://host", "http://localhost:4000", "http://localhost:40", "http://localhost:40100", "https://port.example:8443", "https://port.example", "HTTPS://APP.EXAMPLE.COM", "not a url", "",
];
const TARGETS = [
  ...ORIGINS.filter(Boolean).map((origin) => `${origin}/path?x=1`),
  "/path", "path", "//evil.example", "/\\evil.example", "/%2fevil.example", "/a%5cb", "/a b", "/path?next=//evil.example", "/path#part", "/../x", "/ü", "", "/a:b", "/@evil.example", "javascript:alert(1)", "data:text/html,x", "https://app.example.com@evil.example/", "http://localhost:3000/x", "http://localhost:3001/x",
];

const origins = [
  ...situations(ORIGINS.map((origin) => [`Origin ${JSON.stringify(origin)}`, "member", "POST /update-user", { headers: { origin }, body: { name: "Renamed" } }])),
  ...situations(ORIGINS.filter(Boolean).map((origin) => [`Referer ${JSON.stringify(origin)}`, "member", "POST /update-user", { headers: { origin: undefined, referer: `${origin}/page` }, body: { name: "Renamed" } }])),
  ...stories(TARGETS.map((callbackURL) => [`callback ${JSON.stringify(callbackURL)}`, "POST /sign-out", async (stage) => {
    await stage.browser().post("/sign-out", { callbackURL });
  }])),
  ...stories(["redirectTo", "errorCallbackURL", "newUserCallbackURL"].flatMap((field) =>
    ["https://evil.example", "/path", 7].map((value) => [`${field} ${JSON.stringify(value)}`, "POST /sign-out", async (stage) => {
      await stage.browser().post("/sign-out", { [field]: value });
    }]))),
  ...stories([
    ["a callback elsewhere in the query", "POST /sign-out", async (stage) => {
      await stage.browser().post("/sign-out", {}, { query: { callbackURL: "https://evil.example" } });
    }],
    ["same site, navigated to", "POST /sign-in/email", async (stage) => {
      const w = await actors.known(stage);
      await w.browser.post("/sign-in/email", signIn(w), { headers: { "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" } });
    }],
    ["cross site, not navigated to", "POST /sign-in/email", async (stage) => {
      const w = await actors.known(stage);
      await w.browser.post("/sign-in/email", signIn(w), { headers: { origin: undefined, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty" } });
    }],
    ["the origin null of this very page", "POST /update-user", async (stage) => {
      const w = await actors.member(stage);
      await w.browser.post("/update-user", { name: "Renamed" }, { headers: { origin: "null", "sec-fetch-site": "same-origin" } });
    }],
  ]),
];

// ---- limits ---------------------------------------------------------------------------------------------

const from = (address) => ({ headers: { "x-forwarded-for": address } });

/** Limits count by address: each story has its own. */
const limits = (name) => stories([
  [`${name}, four sign-ins, and one ten seconds later`, "POST /sign-in/email", async (stage) => {
    const browser = stage.browser();
    const here = from(`198.51.100.${stage.number % 250}`);
    for (let n = 0; n < 5; n += 1) await browser.post("/sign-in/email", { email: "nobody@example.com", password: PASSWORD }, here);
    stage.later(11);
    await browser.post("/sign-in/email", { email: "nobody@example.com", password: PASSWORD }, here);
  }],
  [`${name}, every path by itself, and every address`, "GET /ok", async (stage) => {
    const browser = stage.browser();
    const here = from(`203.0.113.${stage.number % 250}`);
    for (let n = 0; n < 3; n += 1) await browser.get("/ok", undefined, here);
    await browser.get("/list-sessions", undefined, here);
    await browser.get("/list-accounts", undefined, here);
    await browser.get("/no-such-thing", undefined, here);
    await browser.get("/no-such-thing", undefined, here);
    await browser.get("/no-such-thing", undefined, here);
    for (let n = 0; n < 4; n += 1) await browser.get("/get-session", undefined, here);
    await browser.get("/ok", undefined, from("192.0.2.1"));
  }],
  [`${name}, IPv6 by network`, "GET /ok", async (stage) => {
    const browser = stage.browser();
    for (const end of ["::1", "::2", ":0:0:ffff::3", "::4"]) await browser.get("/ok", undefined, from(`2001:db8:${stage.number.toString(16)}:1${end}`));
  }],
  [`${name}, several addresses, none, and things that are none`, "GET /ok", async (stage) => {
    const browser = stage.browser();
    for (const address of ["192.0.2.7, 192.0.2.8", "192.0.2.8, 192.0.2.7", "nonsense", "nonsense", "::ffff:192.0.2.9", "192.0.2.9", "192.0.2.9"]) {
      await browser.get("/ok", undefined, from(address));
    }
  }],
  [`${name}, mails`, "POST /request-password-reset", async (stage) => {
    const browser = stage.browser();
    const here = from(`198.51.100.${(stage.number + 1) % 250}`);
    for (let n = 0; n < 4; n += 1) await browser.post("/request-password-reset", { email: "nobody@example.com" }, here);
  }],
]);

const limited = (rateLimit, top = {}) => () => ({
  rateLimit: { enabled: true, window: 60, max: 2, customRules: { "/get-session": false, "/list-*": { window: 30, max: 1 } }, ...rateLimit }, ...top,
});

// ---- cookies, sessions ------------------------------------------------------------------------------------

/** Whoever sets cookies does so here. */
const cookies = (name) => stories([
  [`${name}, up, in and out`, "POST /sign-up/email", async (stage) => {
    const browser = stage.browser();
    const body = credentials(stage);
    await browser.post("/sign-up/email", body);
    await browser.get("/get-session");
    await browser.post("/update-user", { name: "Countess" });
    await browser.post("/sign-out");
    await browser.post("/sign-in/email", signIn(body, { rememberMe: false }));
    await browser.get("/get-session");
    await browser.post("/change-password", { currentPassword: PASSWORD, newPassword: OTHER_PASSWORD, revokeOtherSessions: true });
    stage.later(2 * DAY);
    await browser.get("/get-session");
  }],
]);

const COOKIES = {
  "another prefix": { advanced: { cookiePrefix: "gate" } },
  "secure cookies": { advanced: { useSecureCookies: true } },
  "secure cookies behind https": { baseURL: "https://auth.example.com", trustedOrigins: ["http://localhost:3000"] },
  "no secure cookies behind https": { baseURL: "https://auth.example.com", trustedOrigins: ["http://localhost:3000"], advanced: { useSecureCookies: false } },
  "cookies of all subdomains": { advanced: { crossSubDomainCookies: { enabled: true } } },
  "cookies of a domain": { advanced: { crossSubDomainCookies: { enabled: true, domain: ".example.com" } } },
  "attributes for all": { advanced: { defaultCookieAttributes: { sameSite: "none", secure: true, partitioned: true, path: "/auth" } } },
  "attributes and a name for one": { advanced: { cookies: { session_token: { name: "sid", attributes: { sameSite: "strict", httpOnly: false, maxAge: 60 } }, session_data: { attributes: { domain: "example.com" } }, dont_remember: { name: "short" } } } },
};

const SESSIONS = {
  "the usual sessions": {},
  "never extended": { disableSessionRefresh: true },
  "extended by POST only": { deferSessionRefresh: true },
  "extended by POST only, with a cookie cache": { deferSessionRefresh: true, cookieCache: { enabled: true, maxAge: 60 } },
  "short sessions": { expiresIn: 600, updateAge: 60, freshAge: 120 },
  "extended every time": { updateAge: 0 },
  "a cookie cache": { cookieCache: { enabled: true, maxAge: 60 } },
  "a cookie cache as a JWT": { cookieCache: { enabled: true, maxAge: 60, strategy: "jwt" } },
  "a cookie cache that is sealed": { cookieCache: { enabled: true, maxAge: 60, strategy: "jwe" } },
  "a cookie cache of a version": { cookieCache: { enabled: true, maxAge: 60, version: "7" } },
  "a cookie cache that renews itself": { cookieCache: { enabled: true, maxAge: 100, refreshCache: { updateAge: 50 } } },
};

/** One session through time. */
const through = (name) => stories([30, 90, 130, 590, 700, DAY - 100, DAY + 100, 6 * DAY, 8 * DAY].flatMap((wait) => [
  [`${name}, after ${wait} s`, "GET /get-session", async (stage) => {
    const w = await actors.member(stage);
    stage.later(wait);
    await w.browser.get("/get-session");
    await w.browser.post("/get-session");
    await w.browser.get("/list-sessions");
    await w.browser.get("/get-session");
  }],
]).concat([
  [`${name}, not to be extended`, "GET /get-session", async (stage) => {
    const w = await actors.member(stage);
    stage.later(2 * DAY);
    await w.browser.get("/get-session", { disableRefresh: "true" });
    await w.browser.get("/get-session", { disableCookieCache: "true" });
    await w.browser.post("/update-user", { name: "Countess" });
  }],
  [`${name}, due at another route`, "GET /list-accounts", async (stage) => {
    const w = await actors.member(stage);
    stage.later(2 * DAY);
    // Its time is over, so a browser does not send it any more.
    w.browser.jar.delete("better-auth.session_data");
    await w.browser.get("/list-accounts");
  }],
  [`${name}, not remembered`, "GET /get-session", async (stage) => {
    const w = await actors.known(stage);
    await w.browser.post("/sign-in/email", signIn(w, { rememberMe: false }));
    stage.later(DAY - 60);
    await w.browser.get("/get-session");
    stage.later(120);
    await w.browser.get("/get-session");
  }],
  [`${name}, ended elsewhere`, "GET /get-session", async (stage) => {
    const w = await actors.travelling(stage);
    await w.browser.post("/revoke-other-sessions");
    await w.second.get("/get-session");
    stage.later(61);
    await w.second.get("/get-session");
    await w.second.post("/update-user", { name: "Countess" });
  }],
]));

// ---- functions of the operator ----------------------------------------------------------------------------

const both = (hook) => ({ before: hook, after: hook });
const everyHook = (hook) =>
  Object.fromEntries(["user", "session", "account", "verification"].map((model) => [model, { create: both(hook), update: both(hook), delete: both(hook) }]));

const hooked = stories([
  ["hooks are told", "POST /sign-up/email", async (stage) => {
    await stage.browser().post("/sign-up/email", credentials(stage));
  }],
  ["hooks are told", "POST /update-user", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { name: "Countess" });
  }],
  ["hooks are told", "POST /change-password", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/change-password", { currentPassword: PASSWORD, newPassword: OTHER_PASSWORD, revokeOtherSessions: true });
  }],
  ["hooks are told", "POST /reset-password", async (stage) => {
    const w = await actors.forgetful(stage);
    await w.browser.post("/reset-password", { newPassword: OTHER_PASSWORD, token: w.token });
  }],
  ["hooks are told", "POST /sign-out", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/sign-out");
  }],
  ["hooks are told", "POST /revoke-session", async (stage) => {
    const w = await actors.travelling(stage);
    await w.browser.post("/revoke-session", { token: w.secondToken });
  }],
  ["hooks are told", "GET /verify-email", async (stage) => {
    const w = await actors.unproven(stage);
    await w.browser.open(w.url);
  }],
  ["hooks are told of a session that is extended", "GET /get-session", async (stage) => {
    const w = await actors.member(stage);
    stage.later(2 * DAY);
    await w.browser.get("/get-session");
  }],
]);

const validated = stories([
  ["somebody is looked at", "POST /sign-up/email", async (stage) => {
    await stage.browser().post("/sign-up/email", credentials(stage));
  }],
]);

const own = stories([
  ["passwords of one's own", "POST /sign-up/email", async (stage) => {
    const browser = stage.browser();
    const body = credentials(stage);
    await browser.post("/sign-up/email", body);
    await browser.post("/sign-in/email", signIn(body));
    await browser.post("/sign-in/email", { email: body.email, password: OTHER_PASSWORD });
    await browser.post("/verify-password", { password: PASSWORD });
  }],
]);

// ---- errors that few options bring ------------------------------------------------------------------------

const asMember = (what, route, body) => stories([[what, route, async (stage) => {
  const w = await actors.member(stage);
  const [, to] = route.split(" ");
  await w.browser.post(to, typeof body === "function" ? body(stage) : body);
}]]);
const signedUp = (what, more) => stories([[what, "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", { ...credentials(stage), ...more?.(stage) })]]);

const rare = [
  { group: "few factors", config: () => ({ plugins: { username: { immutableUsername: true }, twoFactor: { totpOptions: { disable: true } } } }),
    cases: [
      ...asMember("a name for good", "POST /update-user", (stage) => ({ username: `Other_${stage.number}` })),
      ...asMember("no authenticators", "POST /two-factor/verify-totp", { code: "123456" }),
      ...asMember("no sent codes", "POST /two-factor/send-otp", {}),
      ...asMember("no backup codes", "POST /two-factor/verify-backup-code", { code: "aaaaa-aaaaa" }),
    ] },
  { group: "names to show that are refused", config: (hook) => ({ plugins: { username: { displayUsernameValidator: hook } } }), answer: () => ({ result: false }),
    cases: signedUp("a name to show that is refused", (stage) => ({ username: `ada_${stage.number}`, displayUsername: "Ada" })) },
  { group: "visitors without an address", config: (hook) => ({ plugins: { anonymous: { generateRandomEmail: hook } } }), answer: () => ({ result: "no address" }),
    cases: stories([["an address that is none", "POST /sign-in/anonymous", (stage) => stage.browser().post("/sign-in/anonymous")]]) },
  { group: "a field that has to be there", config: () => ({ user: { additionalFields: { motto: { type: "string", required: true } } } }),
    cases: signedUp("without a field that has to be there") },
  { group: "accounts that may all go", config: () => ({ account: { accountLinking: { allowUnlinkingAll: true } } }),
    cases: asMember("an account that is not there", "POST /unlink-account", { accountId: "x".repeat(32) }) },
  { group: "no password to change", config: () => ({ plugins: { anonymous: {} } }),
    cases: stories([["a visitor", "POST /change-password", async (stage) => {
      const w = await actors.visitor(stage);
      await w.browser.post("/change-password", { currentPassword: PASSWORD, newPassword: OTHER_PASSWORD });
    }]]) },
  { group: "sessions with a field", config: () => ({ session: { additionalFields: { device: { type: "string", required: false } } } }),
    cases: stories([["fields of the session when all of them end", "POST /change-password", async (stage) => {
      const w = await actors.member(stage);
      await w.browser.post("/update-session", { device: "phone" });
      await w.browser.post("/change-password", { currentPassword: PASSWORD, newPassword: OTHER_PASSWORD, revokeOtherSessions: true });
      await w.browser.get("/get-session");
    }]]) },
  { group: "sessions that a hook refuses", config: (hook) => ({ databaseHooks: { session: { create: { before: hook } } } }), answer: () => ({ result: false }),
    cases: signedUp("the session is refused") },
];

export default [
  ...rare,
  { group: "anonymous visitors", config: anonymously((hook) => ({ onLinkAccount: hook })), cases: anonymous },
  { group: "anonymous visitors who stay", config: anonymously((hook) => ({ emailDomainName: "visitors.example", disableDeleteAnonymousUser: true, generateName: hook })),
    answer: () => ({ result: "Somebody" }),
    cases: stories([
      ["staying", "POST /sign-in/anonymous", async (stage) => {
        const w = await actors.visitor(stage);
        await w.browser.post("/sign-up/email", credentials(stage));
      }],
      ["staying", "POST /delete-anonymous-user", async (stage) => {
        const w = await actors.visitor(stage);
        await w.browser.post("/delete-anonymous-user");
      }],
    ]) },
  { group: "no anonymous visitors", cases: stories([["not offered", "POST /sign-in/anonymous", (stage) => stage.browser().post("/sign-in/anonymous")]]) },
  { group: "trusted origins", config: () => ({ trustedOrigins: TRUSTED }), cases: origins },
  { group: "no check of origins", config: () => ({ advanced: { disableOriginCheck: true } }),
    cases: situations([
      ["unchecked origin", "member", "POST /update-user", { headers: { origin: "https://evil.example" }, body: { name: "Renamed" } }],
      ["unchecked callback", "nobody", "POST /sign-out", { body: { callbackURL: "https://evil.example" } }],
    ]) },
  { group: "no check against forged forms", config: () => ({ advanced: { disableCSRFCheck: true, disableOriginCheck: false } }),
    cases: situations([
      ["forged origin", "member", "POST /update-user", { headers: { origin: "https://evil.example" }, body: { name: "Renamed" } }],
      ["checked callback", "nobody", "POST /sign-out", { body: { callbackURL: "https://evil.example" } }],
    ]) },
  { group: "limits in memory", config: limited({}), cases: limits("in memory") },
  { group: "limits in the database", config: limited({ storage: "database" }), cases: limits("in the database") },
  { group: "limits behind proxies", config: limited({}, { advanced: { disableOriginCheck: false, ipAddress: { ipAddressHeaders: ["x-forwarded-for"], trustedProxies: ["192.0.2.0/24"] } } }),
    cases: limits("behind proxies").filter((one) => one.name.includes("address")) },
  { group: "disabled paths", config: () => ({ disabledPaths: ["/sign-up/email", "/get-session", "/ok"] }),
    cases: stories([
      ["disabled", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage))],
      ["disabled", "GET /get-session", (stage) => stage.browser().get("/get-session")],
      ["disabled", "GET /ok", (stage) => stage.browser().get("/ok")],
      ["disabled, with a slash", "GET /ok", (stage) => stage.browser().get("/ok/")],
      ["not disabled", "POST /sign-out", (stage) => stage.browser().post("/sign-out")],
    ]) },
  { group: "trailing slashes", config: () => ({ advanced: { disableOriginCheck: false, skipTrailingSlashes: true }, disabledPaths: ["/error"] }),
    cases: stories([
      ["with a slash", "GET /ok", (stage) => stage.browser().get("/ok/")],
      ["with two slashes", "GET /ok", (stage) => stage.browser().get("/ok//")],
      ["without a slash", "GET /ok", (stage) => stage.browser().get("/ok")],
      ["with a slash", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email/", credentials(stage))],
      ["disabled, with a slash", "GET /error", (stage) => stage.browser().get("/error/")],
      ["a slash before the query", "GET /get-session", (stage) => stage.browser().get("/get-session/", { disableRefresh: "1" })],
    ]) },
  { group: "another base path", config: () => ({ basePath: "/v1/identity" }),
    cases: [...cookies("another base path"), ...stories([["below another path", "GET /ok", (stage) => stage.browser().get("/ok")]])] },
  { group: "errors elsewhere", config: (hook) => ({ onAPIError: { errorURL: "https://app.example.com/oops?a=1", onError: hook } }),
    cases: stories([
      ["sent elsewhere", "GET /error", (stage) => stage.browser().get("/error", { error: "access_denied", error_description: "No <b>way</b>" })],
      ["sent elsewhere, nothing known", "GET /error", (stage) => stage.browser().get("/error")],
      ["sent elsewhere, markup", "GET /error", (stage) => stage.browser().get("/error", { error: "<b>" })],
    ]) },
  ...Object.entries(COOKIES).map(([name, over]) => ({
    group: name,
    config: () => ({ plugins: { multiSession: {} }, session: { cookieCache: { enabled: true, maxAge: 60 } }, ...over, advanced: { disableOriginCheck: false, ...over.advanced } }),
    cases: cookies(name),
  })),
  ...Object.entries(SESSIONS).map(([name, session]) => ({ group: name, config: () => ({ session }), cases: through(name) })),
  { group: "every hook", unordered: true,
    config: (hook) => ({
      databaseHooks: everyHook(hook), verification: { disableCleanup: true },
      emailAndPassword: { enabled: true, sendResetPassword: hook }, emailVerification: { sendVerificationEmail: hook },
    }),
    cases: hooked },
  { group: "somebody looks at users", config: (hook) => ({ user: { validateUserInfo: hook } }), cases: validated },
  { group: "somebody refuses users", config: (hook) => ({ user: { validateUserInfo: hook } }), cases: validated.map((one) => ({ ...one, name: `${one.name} and refused` })),
    answer: () => ({ result: { error: "not_invited", errorDescription: "By invitation only" } }) },
  { group: "somebody who looks at users fails", config: (hook) => ({ user: { validateUserInfo: hook } }), cases: validated.map((one) => ({ ...one, name: `${one.name} by a function that fails` })),
    answer: () => ({ error: { message: "boom" } }) },
  { group: "passwords of one's own", config: (hook) => ({ emailAndPassword: { enabled: true, password: { hash: hook, verify: hook } } }), cases: own,
    answer: ({ callback, args }) => (callback.endsWith(".hash") ? { result: `own:${args[0]}` } : { result: args[0].hash === `own:${args[0].password}` }) },
  { group: "e-mail and password with limits", config: () => ({ emailAndPassword: { enabled: true, disableSignUp: true, minPasswordLength: 3, maxPasswordLength: 20 } }),
    cases: stories([["closed", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage))]]) },
  { group: "no e-mail and password", config: () => ({ emailAndPassword: { enabled: false } }),
    cases: stories([
      ["off", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage))],
      ["off", "POST /sign-in/email", (stage) => stage.browser().post("/sign-in/email", { email: "a@example.com", password: PASSWORD })],
    ]) },
];

// Where Portcullis answers differently on purpose. Every id is a row of COMPATIBILITY.md.
//
// The suite fails when a listed case no longer differs at exactly these paths, so the list stays true.
import { shapeOf } from "./compare.mjs";

/** One deviation with all of its cases: `{id, reason, differs, cases}`. */
const groups = [
  {
    id: "typed-input",
    reason: "better-auth 1.7.6 hands a value of the wrong type to the database and answers for what happens there",
    differs: ["status", "header content-type", "body"],
    cases: [
      "POST /sign-up/email: no body",
      "POST /update-session: theme of the wrong type",
      "POST /update-user: name of the wrong type",
      "POST /update-user: image of the wrong type",
      "POST /update-user: nickname of the wrong type",
    ],
  },
  {
    id: "typed-input",
    reason: "as above, where better-auth says that the user could not be created",
    differs: ["status", "body.message", "body.code"],
    cases: ["POST /sign-up/email: nickname of the wrong type"],
  },
  {
    id: "revoke-clears-cookies",
    reason: "the browser is left with cookies of a session that is gone; better-auth 1.7.24 clears them, too",
    differs: ["set-cookie"],
    cases: [
      "POST /revoke-session: one's own session",
      "POST /revoke-sessions: as it should be",
      "POST /revoke-sessions: as it should be, with a cookie cache",
    ],
  },
  {
    id: "revoked-is-401",
    reason: "a revoked session changes nothing, although its cached copy is still good",
    differs: ["status", "body.status", "body.message", "body.code", "set-cookie", "rows.user.added.0.name", "rows.user.added.0.updatedAt"],
    cases: ["GET /get-session: a cookie cache that renews itself, ended elsewhere"],
  },
  {
    id: "nothing-before-second-factor",
    reason: "better-auth makes a session, hands its token out in a header and a cookie, and ends it again; here none exists",
    differs: ["header set-auth-token", "header access-control-expose-headers", "set-cookie"],
    cases: [
      "POST /sign-in/email: half a sign-in",
      "POST /sign-in/email: half a sign-in that is not to be remembered",
    ],
  },
  {
    id: "transform-once",
    reason: "better-auth turns the field when it reads the body and again when it writes the row",
    differs: ["body.user.motto", "rows.user.added.0.motto"],
    cases: ["POST /sign-up/email: a transform that adds"],
  },
  {
    id: "transform-once",
    reason: "as above, where the answer has no user",
    differs: ["rows.user.added.0.motto"],
    cases: ["POST /update-user: a transform that adds"],
  },
  {
    id: "closed-fields",
    reason: "better-auth hands the function itself to the database",
    differs: ["status", "body.message", "body.code"],
    cases: ["POST /sign-up/email: a field without input, but with a function, is given"],
  },
  {
    id: "ids-of-rooms",
    reason: "ids of the rooms' own tables are ours",
    differs: ["rows.twoFactor.added.0.id"],
    cases: ["POST /two-factor/enable: ids of one's own, a second factor"],
  },
  {
    id: "ids-of-rooms",
    reason: "as above: the id of a key is in the head of what it signs",
    differs: ["body.token.header.kid"],
    cases: ["GET /token: ids of one's own, a token"],
  },
  {
    id: "one-sent-code",
    reason: "better-auth keeps the row of the code before",
    differs: ["rows.verification.added.length"],
    cases: ["POST /two-factor/send-otp: a second code"],
  },
  {
    id: "no-token-after-the-end",
    reason: "better-auth answers null and a JWT",
    differs: ["header set-auth-jwt", "header access-control-expose-headers"],
    cases: ["GET /get-session: the session has expired"],
  },
  {
    id: "sign-in-after-the-end",
    reason: "better-auth signs in and clears the cookies",
    differs: ["set-cookie"],
    cases: ["POST /sign-in/email: in a browser whose session was ended elsewhere"],
  },
  {
    id: "live-token",
    reason: "better-auth answers the token of the session that it has just replaced",
    differs: ["body.token"],
    cases: ["POST /two-factor/verify-totp: the first code"],
  },
  {
    id: "mailed-links-name-users",
    reason: "the link of a change signs nobody in",
    differs: ["set-cookie", "rows.session.added.length"],
    cases: ["POST /change-email: the link in another browser"],
  },
  {
    id: "error-page",
    reason: "the page is ours, and says what it is written in",
    differs: ["header content-type"],
    cases: [
      "GET /error: as it should be",
      "GET /error: an error and its description",
      "GET /error: an error that is markup",
    ],
  },
];

/** One row per case: `{id, case, differs, reason}`. */
export const deviations = groups.flatMap(({ cases, ...rest }) => cases.map((name) => ({ ...rest, case: name })));

/** The headers that Better Auth leaves to the framework around it (`crates/server/src/front.rs`). */
function isSecurityHeader(value, type) {
  const page = type.startsWith("text/html");
  const policy = page ? value.startsWith("default-src 'none'; style-src 'unsafe-inline';") : value === "default-src 'none'; frame-ancestors 'none'";
  return ["nosniff", "DENY", "same-origin"].includes(value) || /^[0-9a-f]{16}$/.test(value) || policy;
}

/** Names of cookies without those that another one of their name follows. */
const lasting = (names) => names.split(" ").filter((name, index, all) => !all.includes(name, index + 1)).join(" ");

/** Does the header say what the session cookie of the answer does? */
const renewed = ({ setCookies }, header) =>
  setCookies.some((text) => (header === "set-auth-token" ? /^better-auth\.session_token=[^;]/.test(text) : decodeURIComponent(text).startsWith(`better-auth.session_token=${header};`)));

/**
 * What differs wherever it occurs: `{id, path, is(peer, target)}`. One that is never seen fails the suite: in
 * differential.test.mjs, or where `seenIn` says.
 */
export const everywhere = [
  {
    id: "hash-argon2id",
    path: /(rows\.account\.(added|changed|removed)\.\d+|told databaseHooks\.account\.\w+\.\w+\.0)\.password$/,
    is: (peer, target) => shapeOf(peer) === "scrypt hash" && shapeOf(target) === "argon2id hash",
  },
  {
    id: "security-headers",
    path: /header (x-content-type-options|x-frame-options|referrer-policy|content-security-policy|x-request-id)$/,
    is: (peer, target, answer) => peer === undefined && answer && isSecurityHeader(target, `${answer.headers["content-type"]}`),
  },
  {
    id: "mailed-links-name-users",
    path: /told .*\.(url|token)\.payload\.userId$/,
    is: (peer, target) => peer === "absent" && /^[A-Za-z0-9]{32}$/.test(target),
  },
  {
    id: "retry-after",
    path: /header retry-after$/,
    is: (peer, target) => peer === undefined && /^\d+$/.test(target),
  },
  // On the way to what a case is about; the cases above are about these answers themselves.
  {
    id: "nothing-before-second-factor",
    path: /: POST \/sign-in\/(email|username): header (set-auth-token|access-control-expose-headers)$/,
    is: (peer, target, answer) => target === undefined && answer.json.twoFactorRedirect === true,
  },
  {
    id: "nothing-before-second-factor",
    path: /: POST \/sign-in\/(email|username): set-cookie$/,
    is: (peer, target) => peer.replace("better-auth.session_token_multi-… ", "") === target && target.endsWith(".two_factor"),
  },
  // The session is read from the store first, which renews the cache; then it is renewed again with what has changed.
  {
    id: "revoked-is-401",
    path: /set-cookie$/,
    // What is in the extra cookie is looked at in compare.mjs.
    is: (peer, target) => {
      const [first, ...rest] = target.split(" ");
      return /^[\w-]+\.session_data$/.test(first) && rest.join(" ") === peer && (peer === "" || peer.split(" ").includes(first));
    },
  },
  {
    id: "revoke-clears-cookies",
    path: /: POST \/revoke-sessions?: set-cookie$/,
    is: (peer, target) =>
      /^(better-auth\.session_(token|data)( |$))*$/.test(peer) &&
      /better-auth\.session_token .*better-auth\.session_data better-auth\.dont_remember$/.test(target),
  },
  // So does the header that says what the cookie would.
  {
    id: "revoke-clears-cookies",
    seenIn: "generated.test.mjs",
    case: /^generated$/,
    path: /: POST \/revoke-sessions?: header (set-auth-token|access-control-expose-headers)$/,
    is: (peer, target, answer) =>
      target === undefined && (peer === "set-auth-token" || shapeOf(peer) === "signed") && answer.setCookies.some((text) => /^better-auth\.session_token=; Max-Age=0;/.test(text)),
  },
  // A middleware of better-auth's that sets two cookies loses the first.
  {
    id: "renewed-with-cache",
    case: /, due at another route$|^generated$/,
    path: /(^|: (GET|POST) \/(?!get-session:)[\w/-]+: )set-cookie$/,
    is: (peer, target) => target.replace("better-auth.session_token better-auth.session_data", "better-auth.session_data") === peer && peer !== target,
  },
  {
    id: "renewed-with-cache",
    seenIn: "generated.test.mjs",
    case: /^generated$/,
    path: /: (GET|POST) \/[\w/-]+: header (set-auth-token|access-control-expose-headers)$/,
    // The session that the caller has, and no other.
    is: (peer, target, answer) => peer === undefined && renewed(answer, target) && answer.setCookies.some((text) => text.startsWith("better-auth.session_data=")),
  },
  // For fifteen seconds at most; the claims count whole ones.
  {
    id: "tokens-again",
    path: /header set-auth-jwt\.payload\.(iat|exp)$/,
    is: (peer, target) => peer - target <= 16_000 && peer > target,
  },
  {
    id: "fields-carried",
    case: /^POST \/change-password: fields of the session when all of them end$|^generated$/,
    path: /(\.session\.(device|theme)|^rows\.session\.added\.\d+\.(device|theme))$/,
    is: (peer, target) => peer === null && typeof target === "string",
  },
  {
    id: "live-token",
    path: /: POST \/two-factor\/verify-totp: body\.token$/,
    is: (peer, target) => [peer, target].every((token) => /^[A-Za-z0-9]{32}$/.test(token)),
  },
  {
    id: "otp-counts-as-attempt",
    case: /^POST \/two-factor\/verify-otp: (as it should be|an extra field)/,
    targets: { "rows.verification.added.length": 0 },
  },
  {
    id: "otp-counts-as-attempt",
    case: /^POST \/two-factor\/verify-otp: a wrong code/,
    path: /^rows\.verification\.added\.0\.(value|createdAt|updatedAt)$/,
    is: (peer, target) => (`${peer}` === "0" && `${target}` === "1") || peer < target,
  },
  {
    id: "hooks-context",
    path: /told .*\.(1|ctx)\.url$/,
    is: (peer, target) => peer.split("?")[0] === target,
  },
  {
    id: "mailed-links-of-others",
    case: /(too late|of somebody who is gone|too late after a minute|another's mailed token in the body|another's mail)$/,
    path: /^rows\.verification\.added\.length$/,
    is: (peer, target) => peer === 0 && target === 1,
  },
  {
    id: "mailed-links-of-others",
    case: /^GET \/delete-user\/callback: after another's try$/,
    targets: {
      status: 302, "header location": "/bye", "header content-type": "application/json", body: "",
      "set-cookie": "better-auth.session_token better-auth.session_data better-auth.dont_remember",
      "told .length": 2, "rows.user.added.length": 1, "rows.session.added.length": 1, "rows.account.added.length": 1,
    },
  },
  {
    id: "delete-clears-cookies",
    case: /^POST \/delete-user: the mailed token in the body$/,
    targets: { "set-cookie": "better-auth.session_token better-auth.session_data better-auth.dont_remember" },
  },
  {
    id: "honest-links",
    case: /^GET \/verify-email: a token (without an address|of something that is no address)$/,
    targets: { status: 302, "header location": "/welcome?error=INVALID_TOKEN", "header content-type": "application/json" },
  },
  {
    id: "honest-links",
    case: /^POST \/change-email: the link after the address was taken$/,
    targets: { status: 302, "header location": "/moved?error=USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", "header content-type": "application/json" },
  },
  {
    id: "hook-rows",
    path: /told databaseHooks\.(\w+\.create\.before\.0\.id|\w+\.update\.before\.0\.updatedAt)$/,
    is: (peer) => peer === "absent",
  },
  {
    id: "hook-rows",
    case: /^POST \/reset-password: hooks are told$/,
    path: /told databaseHooks\.account\.update\.after\.0$/,
    is: (peer, target) => peer === 1 && target.providerId === "credential",
  },
  {
    id: "dot-paths",
    case: /^GET \/ok: disabled, with a slash$/,
    targets: { body: "", "header content-type": undefined },
  },
  {
    id: "one-complaint",
    path: /body\.message$/,
    is: (peer, target) => peer === `${target}; [body.password] Too small: expected array to have >=1 items`,
  },
  {
    id: "username-in-turn",
    case: /^POST \/(update-user: nobody, a|sign-up\/email: a) (taken|short) username( and no address)?$|^generated$/,
    path: /(^|POST \/(update-user|sign-up\/email): )(status|body\.message|body\.code|set-cookie)$/,
    is: (peer, target, answer) => (peer === 400 && [401, 422].includes(target)) || (/^(Username is |USERNAME_)/.test(peer) && /^(Unauthorized|User already exists.*|UNAUTHORIZED|USER_ALREADY_EXISTS.*|VALIDATION_ERROR|\[body\.\w+\] (Invalid|Too) .*)$/.test(target)) || (peer === "" && answer.status === 401 && /\.dont_remember$/.test(target)),
  },
  {
    id: "username-in-turn",
    seenIn: "generated.test.mjs",
    case: /^generated$/,
    path: /: POST \/sign-up\/email: (status|body\.message|body\.code)$/,
    is: (peer, target) => (peer === 400 && target === 403) || (/^(Username is |USERNAME_)/.test(peer) && /^(Invalid origin|Missing or null Origin|INVALID_ORIGIN|MISSING_OR_NULL_ORIGIN)$/.test(target)),
  },
  // Both have looked at the session, which was due; the refusal of better-auth's leaves out what that set.
  {
    id: "username-in-turn",
    seenIn: "generated.test.mjs",
    case: /^generated$/,
    path: /: POST \/update-user: (set-cookie|header (set-auth-token|access-control-expose-headers))$/,
    is: (peer, target, answer) => /^USERNAME_/.test(answer.json?.code) && renewed(answer, "set-auth-token") && ((peer === "" && /^better-auth\.session_token( better-auth\.session_data)?$/.test(target) && !answer.setCookies.some((text) => /^[^=]*=;/.test(text))) || (peer === undefined && renewed(answer, target))),
  },
  // A browser keeps the last cookie of a name.
  {
    id: "cache-sent-once",
    seenIn: "generated.test.mjs",
    case: /^generated$/,
    path: /set-cookie$/,
    is: (peer, target) => lasting(peer) === lasting(target),
  },
  {
    id: "fresh-cache",
    seenIn: "generated.test.mjs",
    case: /^generated$/,
    path: /(set-cookie\.better-auth\.session_data(\.payload)?|GET \/verify-email: told plugins\.anonymous\.onLinkAccount\.0\.newUser)\.user\.updatedAt$/,
    is: (peer, target) => peer < target,
  },
  {
    id: "remembered-again",
    case: /^POST \/sign-in\/email: remembered after all$|^generated$/,
    path: /(^|POST \/sign-(in|up)\/\w+: )set-cookie$/,
    is: (peer, target) => target !== peer && target.replace("better-auth.dont_remember ", "").replace(" better-auth.dont_remember", "") === peer,
  },
  // That a link was used is remembered in a row; the links of other mails end with it.
  {
    id: "mailed-links-once",
    case: /^(POST \/change-email: |a change of address )/,
    path: /^rows\.(verification|secondary storage)\.added\.length$/,
    is: (peer, target) => target > peer,
  },
  {
    id: "storage-list",
    seenIn: "databases.test.mjs",
    case: /^two people at one computer$/,
    path: /^rows\.secondary storage\.added\.length$/,
    is: (peer, target) => target < peer,
  },
  {
    id: "mailed-links-once",
    case: /^POST \/reset-password: the older of two mails$/,
    path: /^rows\.verification\.added\.length$/,
    is: (peer, target) => target < peer,
  },
];

/**
 * Bugs that are known: `{bug, path, case?, is?}`. Each is a test that fails with these words while the bug is
 * seen, and with others when it is no more; the cases in which it is seen go on without it. The sequences of
 * generated.test.mjs are a case called `generated`.
 */
export const known = [];

/** What excuses this difference of this case, wherever it occurs: a row of `everywhere` or of `known`. */
const at = ({ path, targets }, one) => (targets ? one.path in targets && targets[one.path] === one.target : path.test(one.path));

export const ruleFor = (name, one) =>
  [...everywhere, ...known].find((row) => (row.case?.test(name) ?? true) && at(row, one) && (row.is?.(one.peer, one.target, one.answer) ?? true));

/** Codes of docs/errors.md that better-auth answers in no case, and why. */
const OURS = "Portcullis has it for a setting that better-auth has not";
export const unplayed = {
  PASSWORD_NEEDS_LOWERCASE: OURS, PASSWORD_NEEDS_UPPERCASE: OURS, PASSWORD_NEEDS_DIGIT: OURS, PASSWORD_NEEDS_SYMBOL: OURS,
  PASSWORD_NEEDS_MORE_KINDS: OURS, PASSWORD_TOO_COMMON: OURS, PASSWORD_CONTAINS_CONTEXT: OURS,
  PAYLOAD_TOO_LARGE: OURS, SERVICE_UNAVAILABLE: OURS,
  INVALID_REFRESH_TOKEN: OURS, INVALID_ACCESS_TOKEN: OURS, MISSING_ACCESS_TOKEN: OURS, SECOND_FACTOR_REQUIRED: OURS,
  TOO_MANY_REQUESTS: "said by the routes of \"tokenApi\" only; better-auth's own say it without a code",
  FAILED_TO_GET_SESSION: "a session has to go while it is being read",
  OTP_NOT_ENABLED: "better-auth's table has it, and no route answers it",
};

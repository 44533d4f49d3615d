// Where Portcullis answers differently on purpose. Every id is a row of COMPATIBILITY.md.
//
// The suite fails when a listed case no longer differs at exactly these paths, so the list stays true.

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
    reason: "the session is read from the store first, which renews the cache; then it is renewed again with what has changed",
    differs: ["set-cookie"],
    cases: [
      "POST /update-session: as it should be, with a cookie cache",
      "POST /update-user: as it should be, with a cookie cache",
    ],
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
    id: "live-token",
    reason: "better-auth answers the token of the session that it has just replaced",
    differs: ["body.token"],
    cases: ["POST /two-factor/verify-totp: the first code"],
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

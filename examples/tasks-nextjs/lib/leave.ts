import { signInPath, type Reason } from "./next-path";

let leaving = false;

/**
 * To another page for good. A whole page load on purpose: it drops everything that was kept in memory for
 * whoever was signed in — the token, the router's pages. Only the first call counts, so that a click on
 * "Sign out" is not overtaken by somebody who notices that the session is gone.
 */
export function leaveFor(path: string): void {
  if (leaving) return;
  leaving = true;
  window.location.assign(path);
}

/** To the sign-in page, and back to this one afterwards. */
export function leaveForSignIn(reason: Reason): void {
  leaveFor(signInPath(window.location.pathname + window.location.search, reason));
}

/** Where people land when nothing else was asked for. */
export const HOME = "/dashboard";

const BASE = "http://app.invalid";

/**
 * A `next` parameter as a path of this app, or the home page. Anybody can send a link with such a parameter, so
 * nothing leaves this origin (`//elsewhere.example`, `/\elsewhere.example`, `javascript:…`), and nothing leads
 * back to a form, where it could go round in circles.
 */
export function nextPath(value: unknown): string {
  if (typeof value !== "string" || !value.startsWith("/") || !URL.canParse(value, BASE)) return HOME;
  const url = new URL(value, BASE);
  // What the parser has made of it is looked at, not the text: `/.//elsewhere.example` is a path here,
  // and another host once it has been written out.
  const path = url.pathname + url.search + url.hash;
  if (url.origin !== BASE || path.startsWith("//")) return HOME;
  return /^\/(api|sign-in|sign-up)(?![\w-])/.test(path) || url.pathname === "/" ? HOME : path;
}

/** Why somebody is sent to the sign-in page; each has a sentence there. */
export type Reason = "expired" | "signed-out";

/** The sign-in page, and where to go on afterwards. */
export function signInPath(next?: string, reason?: Reason): string {
  const query = new URLSearchParams();
  if (next !== undefined && nextPath(next) !== HOME) query.set("next", nextPath(next));
  if (reason) query.set("reason", reason);
  return query.size === 0 ? "/sign-in" : `/sign-in?${query}`;
}

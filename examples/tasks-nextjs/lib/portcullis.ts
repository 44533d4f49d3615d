// What this server asks Portcullis itself, in place of the browser.
import { authUrl } from "./config";

export interface User {
  id: string;
  name: string;
  email: string;
  role?: string | null;
}

export interface Session {
  user: User;
  session: { id: string; expiresAt: string };
}

export interface SessionAnswer {
  /** Null for a cookie that is missing, made up, expired or revoked. */
  session: Session | null;
  /** A JWT for the API, which comes along with every session. */
  token: string | null;
  /** Cookies for the browser: a session that was extended, or one that is over. */
  setCookies: string[];
}

/** Portcullis did not say whether there is a session. That is not the same as "no". */
export class AuthUnavailable extends Error {
  override name = "AuthUnavailable";
}

/**
 * The session of a request with these headers. `refresh` says that the cookies of the answer will reach the
 * browser; a server component cannot set any, and has to leave the session's age alone: otherwise the database
 * would believe in an extended session of which the browser's cookie knows nothing.
 */
export async function askSession(headers: Headers, { refresh }: { refresh: boolean }): Promise<SessionAnswer> {
  const cookie = headers.get("cookie");
  if (!cookie) return { session: null, token: null, setCookies: [] };

  const url = new URL("/api/auth/get-session", authUrl());
  if (!refresh) url.searchParams.set("disableRefresh", "true");
  const ask = new Headers({ cookie });
  // Portcullis counts requests by address. Without it all visitors would share one count.
  for (const name of ["x-forwarded-for", "user-agent"]) {
    const value = headers.get(name);
    if (value) ask.set(name, value);
  }

  try {
    const answer = await fetch(url, { headers: ask, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(5_000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return {
      session: (await answer.json()) as Session | null,
      token: answer.headers.get("set-auth-jwt"),
      setCookies: answer.headers.getSetCookie(),
    };
  } catch (cause) {
    throw new AuthUnavailable("Portcullis does not answer", { cause });
  }
}

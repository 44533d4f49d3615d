// Runs before every page: a content security policy, and the session for pages that need one.
import { NextResponse, type NextRequest } from "next/server";
import { apiUrl, appUrl } from "@/lib/config";
import { signInPath } from "@/lib/next-path";
import { askSession } from "@/lib/portcullis";
import { unavailablePage } from "@/lib/unavailable";

/** Pages for everybody. All others need a session, also those that somebody adds without thinking of this list. */
const PUBLIC = new Set(["/", "/sign-in", "/sign-up"]);

export async function proxy(request: NextRequest): Promise<NextResponse> {
  const nonce = btoa(crypto.randomUUID());
  const policy = contentSecurityPolicy(nonce);
  // Next.js finds the nonce in the request's policy and gives it to its own scripts.
  const headers = new Headers(request.headers);
  headers.set("content-security-policy", policy);

  const { pathname, search } = request.nextUrl;
  let response = NextResponse.next({ request: { headers } });
  let setCookies: string[] = [];
  if (!PUBLIC.has(pathname)) {
    try {
      // Not "is there a cookie?": one that is expired, revoked or made up is there, too. A page that then finds no
      // session and a rule that sends everybody with a cookie away from the sign-in page go round in circles.
      const answer = await askSession(request.headers, { refresh: true });
      setCookies = answer.setCookies;
      if (!answer.session) response = NextResponse.redirect(new URL(signInPath(pathname + search), appUrl()));
    } catch (error) {
      // Nobody knows whether there is a session. Sending people to sign in would help as little as letting them in.
      console.error(`${error}`, error instanceof Error ? error.cause : "");
      response = new NextResponse(unavailablePage(nonce), {
        status: 503,
        headers: { "content-type": "text/html; charset=utf-8", "cache-control": "no-store", "retry-after": "2" },
      });
    }
  }
  for (const cookie of setCookies) response.headers.append("set-cookie", cookie);
  response.headers.set("content-security-policy", policy);
  return response;
}

function contentSecurityPolicy(nonce: string): string {
  // React's tools for development evaluate texts and insert styles.
  const development = process.env.NODE_ENV === "development";
  return [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${development ? " 'unsafe-eval'" : ""}`,
    `style-src 'self' ${development ? "'unsafe-inline'" : `'nonce-${nonce}'`}`,
    "img-src 'self' data:",
    `connect-src 'self' ${apiUrl()}${development ? " ws:" : ""}`,
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}

export const config = {
  // Everything but files and app/api/auth, where Portcullis looks at the session itself.
  matcher: ["/((?!api/auth/|_next/static/|_next/image|icon\\.svg$).*)"],
};

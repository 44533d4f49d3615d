// Portcullis under this app's own origin, so that its cookies are first-party and no CORS is needed.
import { appUrl, authUrl } from "@/lib/config";

const PREFIX = "/api/auth/";
const TIMEOUT = 15_000;
/** Portcullis' own limit (`http.maxBodyBytes`). Said here, because it would hang up in the middle of such a body. */
const MAX_BODY = 1024 * 1024;

/** Headers that are about one connection (RFC 9110 §7.6.1), and never travel further. */
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

function endToEnd(headers: Headers): Headers {
  const kept = new Headers(headers);
  const named = headers.get("connection")?.split(",") ?? [];
  for (const name of [...HOP_BY_HOP, ...named.map((one) => one.trim()).filter((one) => /^[\w!#$%&'*+.^`|~-]+$/.test(one))]) {
    kept.delete(name);
  }
  return kept;
}

function unavailable(status: 502 | 504): Response {
  const body = { code: "AUTH_UNAVAILABLE", message: "The sign-in service cannot be reached. Try again in a moment." };
  return Response.json(body, { status, headers: { "cache-control": "no-store", "retry-after": "2" } });
}

async function forward(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  if (!pathname.startsWith(PREFIX)) return new Response(null, { status: 404 });
  if (Number(request.headers.get("content-length")) > MAX_BODY) {
    return Response.json({ code: "PAYLOAD_TOO_LARGE", message: "Request body is too large" }, { status: 413 });
  }
  // Host and port are Portcullis' whatever the path looks like: only path and query are taken from the request.
  const target = new URL(authUrl());
  target.pathname = pathname;
  target.search = search;

  const headers = endToEnd(request.headers);
  // fetch sets both, for the host and the body that it sends.
  headers.delete("host");
  headers.delete("content-length");
  // Bytes are handed on as they are; otherwise fetch would unpack them under a header that says they are packed.
  headers.set("accept-encoding", "identity");
  // The address under which the browser knows us. Not what it has put into `Host`: anybody can write that.
  // `Origin`, `Cookie` and `X-Forwarded-For` stay as they came; for the latter see "Behind a proxy" in the README.
  const app = new URL(appUrl());
  headers.delete("forwarded");
  headers.set("x-forwarded-host", app.host);
  headers.set("x-forwarded-proto", app.protocol.slice(0, -1));
  headers.set("x-forwarded-port", app.port || (app.protocol === "https:" ? "443" : "80"));

  const timeout = AbortSignal.timeout(TIMEOUT);
  let answer: Response;
  try {
    answer = await fetch(target, {
      method: request.method,
      headers,
      body: request.body,
      // Needed for a body that is a stream; TypeScript's DOM types do not know it yet.
      ...{ duplex: "half" },
      // A redirect is the browser's to follow, with its cookies.
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.any([request.signal, timeout]),
    });
  } catch (error) {
    if (!request.signal.aborted) console.error("Portcullis cannot be reached:", error);
    return unavailable(timeout.aborted ? 504 : 502);
  }

  // A copy of `Headers` keeps each Set-Cookie apart; joined by commas they could not be told apart any more.
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers: endToEnd(answer.headers) });
}

export { forward as GET, forward as POST, forward as PUT, forward as PATCH, forward as DELETE };

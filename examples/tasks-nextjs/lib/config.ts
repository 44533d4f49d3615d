// Where everything is. Read when the server runs, so that one build serves every environment; that is also why
// none of these is a NEXT_PUBLIC_ variable, which the build would write into the scripts.

function origin(name: string, fallback: string): string {
  const value = process.env[name] || fallback;
  const url = URL.canParse(value) ? new URL(value) : null;
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error(`${name}: \`${value}\` is not an http(s) address`);
  return url.origin;
}

/** The address people see; the `baseURL` of Portcullis. */
export const appUrl = () => origin("APP_URL", "http://localhost:3000");

/** Portcullis, as seen from this server. */
export const authUrl = () => origin("AUTH_URL", "http://localhost:4000");

/** The task API, as seen from browsers and from this server. */
export const apiUrl = () => origin("API_URL", "http://localhost:8000");

// The session in server components. Each page asks for itself: a layout is not rendered again when only the page
// below it changes, and proxy.ts is one forgotten path away from not being asked at all.
import "server-only";
import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { cache } from "react";
import { signInPath } from "./next-path";
import { askSession } from "./portcullis";

/** Asked once for each request, however many components want to know; never kept longer. */
export const getSession = cache(async () => {
  const { session, token } = await askSession(await headers(), { refresh: false });
  return session && { ...session, token };
});

/** The session, or the sign-in page, which leads back to `path`. */
export async function requireSession(path: string) {
  return (await getSession()) ?? redirect(signInPath(path));
}

import type { Metadata } from "next";
import Link from "next/link";
import { redirect } from "next/navigation";
import { HOME, nextPath } from "@/lib/next-path";
import { getSession } from "@/lib/session";
import { SignInForm } from "./sign-in-form";

export const metadata: Metadata = { title: "Sign in" };

const NOTICES: Partial<Record<string, string>> = {
  expired: "Please sign in again to go on.",
  "signed-out": "You have signed out.",
};

export default async function SignInPage({ searchParams }: PageProps<"/sign-in">) {
  const query = await searchParams;
  const next = nextPath(query.next);
  const notice = typeof query.reason === "string" ? NOTICES[query.reason] : undefined;
  // Who is signed in has nothing to do here — unless a page has just sent them, because the API no longer takes
  // their tokens. To send them back would be the first half of a circle.
  if (!notice && (await getSession().catch(() => null))) redirect(next);

  return (
    <>
      <h1>Sign in</h1>
      {notice && <p className="notice">{notice}</p>}
      <SignInForm next={next} />
      <p className="form-alternative">
        No account yet? <Link href={next === HOME ? "/sign-up" : `/sign-up?next=${encodeURIComponent(next)}`}>Create one</Link>
      </p>
    </>
  );
}

import type { Metadata } from "next";
import Link from "next/link";
import { redirect } from "next/navigation";
import { HOME, nextPath, signInPath } from "@/lib/next-path";
import { getSession } from "@/lib/session";
import { SignUpForm } from "./sign-up-form";

export const metadata: Metadata = { title: "Create an account" };

export default async function SignUpPage({ searchParams }: PageProps<"/sign-up">) {
  const next = nextPath((await searchParams).next);
  if (await getSession().catch(() => null)) redirect(next);

  return (
    <>
      <h1>Create an account</h1>
      <SignUpForm next={next} />
      <p className="form-alternative">
        You have one already? <Link href={signInPath(next === HOME ? undefined : next)}>Sign in</Link>
      </p>
    </>
  );
}

import Link from "next/link";
import { Brand } from "@/components/brand";
import { getSession } from "@/lib/session";

export default async function Welcome() {
  // A page for everybody, with or without a session; it does not fail when nobody can say which.
  const session = await getSession().catch(() => null);
  return (
    <div className="welcome">
      <header className="welcome-bar">
        <Brand />
      </header>
      <main id="main" className="welcome-main" tabIndex={-1}>
        <h1>Your list. Nobody else’s.</h1>
        <p className="welcome-lead">
          A small task list behind a good lock. Sign in once; the list, and whoever serves it, know that it is you.
        </p>
        <div className="actions">
          {session ? (
            <Link className="button" href="/dashboard">
              Go to your tasks
            </Link>
          ) : (
            <>
              <Link className="button" href="/sign-up">
                Create an account
              </Link>
              <Link className="button button-quiet" href="/sign-in">
                Sign in
              </Link>
            </>
          )}
        </div>
      </main>
    </div>
  );
}

import type { Metadata } from "next";
import Link from "next/link";
import type { Task } from "@/lib/api";
import { apiUrl } from "@/lib/config";
import { requireSession } from "@/lib/session";

export const metadata: Metadata = { title: "Dashboard" };

const MOST = 100;

/** A server component may ask the API, too: with the JWT that came along with the session. */
async function tasks(token: string | null, completed: boolean): Promise<Task[] | null> {
  try {
    const answer = await fetch(`${apiUrl()}/api/v1/tasks?completed=${completed}&limit=${MOST}`, {
      headers: { authorization: `Bearer ${token}` },
      cache: "no-store",
      signal: AbortSignal.timeout(5_000),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return (await answer.json()) as Task[];
  } catch (error) {
    // Not a reason to send anybody to sign in: they are. The rest of the page is still good.
    console.error("The task API cannot be asked:", error);
    return null;
  }
}

const counted = (list: Task[]) => (list.length === MOST ? `${MOST}+` : `${list.length}`);

export default async function Dashboard() {
  const { user, session, token } = await requireSession("/dashboard");
  const [open, done] = await Promise.all([tasks(token, false), tasks(token, true)]);
  const until = new Date(session.expiresAt);
  return (
    <>
      <h1>Hello, {user.name}</h1>
      {open && done ? (
        <>
          <ul className="tiles">
            <li>
              <Link className="tile" href="/tasks?show=open">
                <strong>{counted(open)}</strong> open
              </Link>
            </li>
            <li>
              <Link className="tile" href="/tasks?show=done">
                <strong>{counted(done)}</strong> done
              </Link>
            </li>
          </ul>
          <section aria-labelledby="next-up">
            <h2 id="next-up">Next up</h2>
            {open.length === 0 ? (
              <p className="empty">
                Nothing is waiting. <Link href="/tasks">Add a task</Link>
              </p>
            ) : (
              <ul className="card-list">
                {open.slice(0, 5).map((task) => (
                  <li key={task.id}>{task.title}</li>
                ))}
              </ul>
            )}
          </section>
        </>
      ) : (
        <p className="notice">Your tasks cannot be shown just now: the task service does not answer. Try again in a moment.</p>
      )}
      <section aria-labelledby="account">
        <h2 id="account">Account</h2>
        <dl className="facts">
          <div>
            <dt>Email address</dt>
            <dd>{user.email}</dd>
          </div>
          {user.role && (
            <div>
              <dt>Role</dt>
              <dd>{user.role}</dd>
            </div>
          )}
          <div>
            <dt>Signed in until</dt>
            <dd>
              <time dateTime={until.toISOString()}>{until.toLocaleDateString("en", { dateStyle: "long", timeZone: "UTC" })}</time>
            </dd>
          </div>
        </dl>
      </section>
    </>
  );
}

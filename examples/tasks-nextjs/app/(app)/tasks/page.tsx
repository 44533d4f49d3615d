import type { Metadata } from "next";
import Link from "next/link";
import { apiUrl } from "@/lib/config";
import { requireSession } from "@/lib/session";
import { TaskBoard, type Show } from "./task-board";

export const metadata: Metadata = { title: "Tasks" };

const SHOWS: { show: Show; name: string }[] = [
  { show: "all", name: "All" },
  { show: "open", name: "Open" },
  { show: "done", name: "Done" },
];

export default async function TasksPage({ searchParams }: PageProps<"/tasks">) {
  const query = await searchParams;
  const show = SHOWS.find((one) => one.show === query.show)?.show ?? "all";
  const { user } = await requireSession(show === "all" ? "/tasks" : `/tasks?show=${show}`);
  return (
    <>
      <div className="page-head">
        <h1>Tasks</h1>
        <nav className="segments" aria-label="Which tasks">
          {SHOWS.map((one) => (
            <Link
              key={one.show}
              href={one.show === "all" ? "/tasks" : `/tasks?show=${one.show}`}
              aria-current={one.show === show ? "true" : undefined}
            >
              {one.name}
            </Link>
          ))}
        </nav>
      </div>
      <TaskBoard key={show} show={show} apiUrl={apiUrl()} userId={user.id} />
    </>
  );
}

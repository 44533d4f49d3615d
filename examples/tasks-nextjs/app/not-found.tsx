import type { Metadata } from "next";
import Link from "next/link";
import { Brand } from "@/components/brand";

export const metadata: Metadata = { title: "Not found" };

export default function NotFound() {
  return (
    <div className="welcome">
      <header className="welcome-bar">
        <Brand />
      </header>
      <main id="main" className="welcome-main" tabIndex={-1}>
        <h1>There is no such page.</h1>
        <p className="welcome-lead">The address may have a typing error in it, or the page has moved.</p>
        <div className="actions">
          <Link className="button" href="/dashboard">
            To your tasks
          </Link>
        </div>
      </main>
    </div>
  );
}

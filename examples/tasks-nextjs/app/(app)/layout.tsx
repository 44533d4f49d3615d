import type { ReactNode } from "react";
import { Brand } from "@/components/brand";
import { Navigation } from "@/components/navigation";
import { SessionWatch } from "@/components/session-watch";
import { UserMenu } from "@/components/user-menu";
import { requireSession } from "@/lib/session";
import { HOME } from "@/lib/next-path";

export default async function AppLayout({ children }: { children: ReactNode }) {
  // For the header only. The pages ask for themselves (lib/session.ts).
  const { user } = await requireSession(HOME);
  return (
    <>
      <SessionWatch userId={user.id} />
      <header className="bar">
        <div className="bar-inner">
          <Brand href={HOME} />
          <Navigation />
          <UserMenu name={user.name} email={user.email} />
        </div>
      </header>
      <main id="main" className="page" tabIndex={-1}>
        {children}
      </main>
    </>
  );
}

import type { ReactNode } from "react";
import { Brand } from "@/components/brand";

export default function AuthLayout({ children }: { children: ReactNode }) {
  return (
    <div className="split">
      <header className="split-aside">
        <Brand />
        <p className="split-claim">Your list. Nobody else’s.</p>
      </header>
      <main id="main" className="split-main" tabIndex={-1}>
        <div className="form-card">{children}</div>
      </main>
    </div>
  );
}

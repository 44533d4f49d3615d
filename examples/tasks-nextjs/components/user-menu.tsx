"use client";

import { useState } from "react";
import { forgetToken } from "@/lib/api";
import { authClient } from "@/lib/auth-client";
import { leaveFor } from "@/lib/leave";
import { signInPath } from "@/lib/next-path";

/** Name and address come with the page, so that nothing flickers until `useSession` knows better. */
export function UserMenu({ name, email }: { name: string; email: string }) {
  const { data } = authClient.useSession();
  const user = data?.user ?? { name, email };
  const [pending, setPending] = useState(false);
  const [failed, setFailed] = useState(false);

  async function signOut() {
    if (pending) return;
    setPending(true);
    setFailed(false);
    const { error } = await authClient.signOut().catch(() => ({ error: true }));
    if (error) {
      // The cookie is not ours to delete (HttpOnly): whoever is told that they are signed out has to be.
      setFailed(true);
      setPending(false);
      return;
    }
    forgetToken();
    leaveFor(signInPath(undefined, "signed-out"));
  }

  // A popover of the browser's: Escape, a click elsewhere, the focus and aria-expanded are its business.
  return (
    <div className="user-menu">
      <button type="button" className="user-button" popoverTarget="user-menu">
        <span aria-hidden="true">{initials(user.name)}</span>
        <span className="visually-hidden">Account of {user.name}</span>
      </button>
      <div id="user-menu" popover="auto" className="user-popover" role="group" aria-label="Account">
        <p className="user-name">{user.name}</p>
        <p className="user-email">{user.email}</p>
        <button type="button" className="button button-quiet" aria-disabled={pending} onClick={signOut}>
          {pending ? "Signing out…" : "Sign out"}
        </button>
        <div role="alert">{failed && <p className="field-error">You are still signed in: the service cannot be reached. Try again.</p>}</div>
      </div>
    </div>
  );
}

function initials(name: string): string {
  const words = name.trim().split(/\s+/);
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => [...(word ?? "")][0] ?? "");
  return letters.join("").toLocaleUpperCase() || "?";
}

"use client";

import { useEffect } from "react";
import { authClient } from "@/lib/auth-client";
import { leaveForSignIn } from "@/lib/leave";

/**
 * Cookies belong to all tabs, this page to one user. When the session ends elsewhere, the page closes; when
 * somebody else has signed in, it is made anew for them. Better Auth's client asks again when a tab comes to the
 * front, and tells other tabs of a sign-out.
 */
export function SessionWatch({ userId }: { userId: string }) {
  const { data, error, isPending, isRefetching } = authClient.useSession();
  const settled = !isPending && !isRefetching && !error;
  const now = settled ? (data?.user.id ?? null) : userId;

  useEffect(() => {
    if (now === null) leaveForSignIn("expired");
    else if (now !== userId) window.location.reload();
  }, [now, userId]);

  useEffect(() => {
    // "Back" after a sign-out may bring the page as it was, without asking any server.
    const onShow = (event: PageTransitionEvent) => event.persisted && window.location.reload();
    window.addEventListener("pageshow", onShow);
    return () => window.removeEventListener("pageshow", onShow);
  }, []);

  return null;
}

"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";

const PAGES = [
  { href: "/dashboard", name: "Dashboard" },
  { href: "/tasks", name: "Tasks" },
];

export function Navigation() {
  const path = usePathname();
  return (
    <nav className="nav" aria-label="Pages">
      {PAGES.map(({ href, name }) => (
        <Link key={href} href={href} aria-current={path === href ? "page" : undefined}>
          {name}
        </Link>
      ))}
    </nav>
  );
}

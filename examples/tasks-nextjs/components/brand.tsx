import Link from "next/link";

export function Brand({ href = "/" }: { href?: string }) {
  return (
    <Link className="brand" href={href}>
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
        <path d="M7 25V13a9 9 0 0 1 18 0v12M13 25V5.5M19 25V5.5M7 13h18M7 19h18" />
      </svg>
      Gatehouse
    </Link>
  );
}

"use client";

/** A page that could not be made. Errors of single requests are shown where they belong instead. */
export default function ErrorPage() {
  return (
    <main id="main" className="welcome-main" tabIndex={-1}>
      <h1>Something went wrong.</h1>
      <p className="welcome-lead">It is our fault, not yours. Try again in a moment.</p>
      <div className="actions">
        <button type="button" className="button" onClick={() => window.location.reload()}>
          Try again
        </button>
      </div>
    </main>
  );
}

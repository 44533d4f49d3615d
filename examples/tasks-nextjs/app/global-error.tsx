"use client";

import "./globals.css";
import ErrorPage from "./error";

/** As error.tsx, where the root layout itself has failed. */
export default function GlobalError() {
  return (
    <html lang="en">
      <body>
        <title>Something went wrong</title>
        <ErrorPage />
      </body>
    </html>
  );
}

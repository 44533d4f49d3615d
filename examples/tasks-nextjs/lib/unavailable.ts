/**
 * What people see in place of a page for which nobody can say whether there is a session. It needs nothing of the
 * app, and it is a 503: for browsers, crawlers and monitors it is clear that the page is not gone.
 */
export function unavailablePage(nonce: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Not reachable · Gatehouse tasks</title>
<style nonce="${nonce}">
  :root { color-scheme: light dark; background: light-dark(#f6f5f1, #111513); color: light-dark(#1b1f1d, #eceeec);
    font: 1.125rem/1.5 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
  body { display: grid; min-height: 100dvh; margin: 0; }
  main { align-self: center; width: min(40rem, 100% - 2rem); margin: auto; }
  h1 { margin: 0; font-size: clamp(2rem, 1.4rem + 3vw, 3.5rem); line-height: 1.05; letter-spacing: -0.03em; text-wrap: balance; }
  p { margin: 1.25rem 0; color: light-dark(#565d59, #a6b0ab); }
  a { display: inline-block; padding: 0.6rem 1.25rem; border-radius: 0.75rem; font-weight: 600; text-decoration: none;
    background: light-dark(#0d5c4d, #7fd6bd); color: light-dark(#fff, #06251d); }
  a:focus-visible { outline: 3px solid light-dark(#0d5c4d, #7fd6bd); outline-offset: 2px; }
</style>
<main>
  <h1>We cannot tell who you are just now.</h1>
  <p>You have not been signed out, and your tasks are safe. Try again in a moment.</p>
  <a href="">Try again</a>
</main>
</html>
`;
}

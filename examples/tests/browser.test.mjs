// The Next.js app in a real Chromium, against both APIs: the story of two people, tokens that expire, and what
// happens when something is away. CHROMIUM names another browser than /usr/bin/chromium.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import { after, afterEach, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { startStack } from "./servers.mjs";

const PASSWORD = "plum-orbit-lantern-42";
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Asks for a path as it is written. */
const raw = (origin, path) =>
  new Promise((resolve, reject) => {
    const { hostname, port, host } = new URL(origin);
    const request = http.get({ hostname, port, path, headers: { host } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode, location: answer.headers.location, text }));
    });
    request.on("error", reject);
  });

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});
after(() => browser?.close());

for (const api of ["tasks-fastapi", "tasks-axum"]) {
  /** What does not depend on the API is tried with one of them. */
  const itOnce = api === "tasks-fastapi" ? it : () => {};

  describe(`the Next.js app with ${api}`, { timeout: 240_000 }, () => {
    let stack;
    const contexts = [];
    let complaints = [];

    before(async () => {
      stack = await startStack(api, { next: true });
    });
    after(() => stack?.stop());
    afterEach(async () => {
      for (const context of contexts.splice(0)) await context.close();
      const found = complaints;
      complaints = [];
      assert.deepEqual(found, [], "the browser complained");
    });

    /** Somebody's browser: its own cookies. Whatever goes wrong in it by itself fails the test. */
    async function person(options = {}) {
      const context = await browser.newContext({ baseURL: stack.origin, reducedMotion: "reduce", ...options });
      context.setDefaultTimeout(15_000);
      contexts.push(context);
      context.on("page", (page) => {
        page.on("pageerror", (error) => complaints.push(`${error}`));
        page.on("console", (message) => {
          // That a request was answered with 401 or 503 is what some of these tests are about.
          if (message.type() === "error" && !/^Failed to load resource/.test(message.text())) complaints.push(message.text());
        });
      });
      return context.newPage();
    }

    let count = 0;
    const newAddress = () => `person-${++count}@example.com`;

    async function signUp(page, { name = "Ada Lovelace", email = newAddress(), next } = {}) {
      await page.goto(next ? `/sign-up?next=${encodeURIComponent(next)}` : "/sign-up");
      await page.getByLabel("Name").fill(name);
      await page.getByLabel("Email address").fill(email);
      await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
      await page.getByRole("button", { name: "Create account" }).click();
      await arrive(page, next ?? "/dashboard");
      return email;
    }

    async function signIn(page, email, password = PASSWORD) {
      await page.getByLabel("Email address").fill(email);
      await page.getByLabel("Password", { exact: true }).fill(password);
      await page.getByRole("button", { name: "Sign in" }).click();
    }

    async function signOut(page) {
      await page.getByRole("button", { name: /^Account of/ }).click();
      await page.getByRole("button", { name: "Sign out" }).click();
      await arrive(page, "/sign-in?reason=signed-out");
    }

    /** Until the page is this one, query and all; a `next` that ends alike is another. */
    const arrive = (page, where) => page.waitForURL((url) => url.pathname + url.search === where);

    const addTask = async (page, title) => {
      await page.getByLabel("New task").fill(title);
      await page.getByRole("button", { name: "Add task" }).click();
      await page.getByRole("checkbox", { name: title, exact: true }).waitFor();
    };

    const tasksShown = async (page) => {
      await page.locator(".tasks, .empty").first().waitFor();
      return page.getByRole("list", { name: "Tasks" }).getByRole("checkbox").count();
    };

    /** The whole Cookie header of a page's browser. */
    const cookiesOf = async (page) => (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");

    /** A page as a request without a browser: what a redirect says before anybody follows it. */
    const visit = (path, cookie) => fetch(new URL(path, stack.origin), { redirect: "manual", headers: { ...(cookie && { cookie }) } });

    /** A token of this browser's user that has expired a minute ago, truly signed. */
    async function expiredToken(page) {
      const { url } = await stack.expired();
      const answer = await fetch(`${url}/api/auth/token`, { headers: { cookie: await cookiesOf(page) } });
      assert.equal(answer.status, 200);
      return (await answer.json()).token;
    }

    const freshToken = async (page) => (await (await visit("/api/auth/token", await cookiesOf(page))).json()).token;

    /** Whether it is still the very same document: any navigation would have made a new one. */
    const mark = (page) => page.evaluate(() => void (window.sameDocument = true));
    const isMarked = (page) => page.evaluate(() => window.sameDocument === true);

    it("two people: each has a list of their own, and a sign-out closes the page", async () => {
      const page = await person();
      // A visitor is led to the sign-in page, and later to where they wanted to go.
      await page.goto("/tasks");
      await arrive(page, "/sign-in?next=%2Ftasks");
      await page.getByRole("link", { name: "Create one" }).click();
      await arrive(page, "/sign-up?next=%2Ftasks");
      const email = newAddress();
      await page.getByLabel("Name").fill("Ada Lovelace");
      await page.getByLabel("Email address").fill(email);
      await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
      await page.getByRole("button", { name: "Create account" }).click();
      await arrive(page, "/tasks");

      await addTask(page, "Feed the engine");
      await page.getByRole("checkbox", { name: "Feed the engine" }).check();
      await page.getByRole("status").getByText("Done: Feed the engine").waitFor();
      await page.reload();
      assert.ok(await page.getByRole("checkbox", { name: "Feed the engine" }).isChecked(), "it is stored, not only shown");

      await page.getByRole("link", { name: "Dashboard" }).click();
      await page.getByRole("heading", { name: "Hello, Ada Lovelace" }).waitFor();
      assert.equal((await page.getByRole("link", { name: "done" }).innerText()).replace(/\s+/g, " "), "1 done");

      // Nothing that would outlive the sign-out, or that a script from elsewhere could take.
      const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie);
      assert.doesNotMatch(kept, /eyJ|session_token/);

      await signOut(page);
      await page.getByText("You have signed out.").waitFor();
      await page.evaluate(() => history.back());
      await arrive(page, "/sign-in");
      assert.equal(await page.getByText("Ada Lovelace").count(), 0, "going back does not show it either");
      await page.goto("/tasks");
      await arrive(page, "/sign-in?next=%2Ftasks");

      // Somebody else, at the same computer.
      await signUp(page, { name: "Grace Hopper", next: "/tasks" });
      assert.equal(await tasksShown(page), 0);
      await page.getByText("No tasks yet").waitFor();
      await addTask(page, "Find the moth");
      await signOut(page);

      await page.goto("/sign-in?next=/tasks");
      await signIn(page, email);
      await arrive(page, "/tasks");
      assert.equal(await tasksShown(page), 1);
      assert.ok(await page.getByRole("checkbox", { name: "Feed the engine" }).isChecked());
    });

    it("tasks are changed and deleted by keyboard, and the focus is never lost", async () => {
      const page = await person();
      await signUp(page, { next: "/tasks" });
      for (const title of ["One", "Two"]) {
        await page.getByLabel("New task").fill(title);
        await page.keyboard.press("Enter");
        await page.getByRole("checkbox", { name: title }).waitFor();
        await page.waitForFunction(() => document.activeElement?.getAttribute("name") === "title");
      }
      await page.getByRole("checkbox", { name: "Two" }).focus();
      await page.keyboard.press("Space");
      await page.getByRole("status").getByText("Done: Two").waitFor();

      await page.getByRole("button", { name: "Edit Two" }).focus();
      await page.keyboard.press("Enter");
      const dialog = page.getByRole("dialog", { name: "Edit task" });
      await dialog.waitFor();
      await dialog.getByLabel("Title").fill("");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.activeElement?.getAttribute("aria-invalid") === "true");
      await dialog.getByLabel("Title").fill("Two and a half");
      await dialog.getByLabel("Description").fill("With a note.");
      await dialog.getByRole("button", { name: "Save" }).press("Enter");
      await page.getByText("With a note.").waitFor();
      await dialog.waitFor({ state: "detached" });
      // The focus goes back where it came from, a moment after the dialog has gone.
      const back = () => page.waitForFunction(() => document.activeElement?.textContent === "Edit Two and a half");
      await back();

      await page.keyboard.press("Enter");
      await dialog.waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      await back();
      await page.keyboard.press("Enter");
      await dialog.waitFor();
      // Both keys before the page hears of the first.
      await page.keyboard.press("Escape");
      await page.keyboard.press("Enter");
      await dialog.waitFor();
      const remove = dialog.getByRole("button", { name: /delete/i });
      await remove.press("Enter");
      await remove.getByText("Really delete?").waitFor();
      await remove.press("Enter");
      await page.getByRole("status").getByText("Deleted: Two and a half").waitFor();
      await dialog.waitFor({ state: "detached" });
      // And of what is gone to the neighbour.
      await page.waitForFunction(() => document.activeElement?.labels?.[0]?.textContent === "One");
      await page.reload();
      assert.equal(await tasksShown(page), 1);
    });

    it("an expired access token is renewed, and nobody notices", async () => {
      const page = await person();
      await signUp(page);
      const expired = await expiredToken(page);
      const tokens = [];
      await page.route("**/api/auth/token", async (route) => {
        tokens.push(route.request().url());
        await (tokens.length === 1 ? route.fulfill({ json: { token: expired } }) : route.fallback());
      });
      const refused = [];
      page.on("response", (answer) => answer.url().startsWith(stack.apiUrl) && answer.status() === 401 && refused.push(answer.request().method()));

      // The list is given without the API, so that the first to notice is what the user does.
      const cors = { "access-control-allow-origin": stack.origin };
      await page.route(`${stack.apiUrl}/api/v1/tasks?**`, (route) => route.fulfill({ json: [], headers: cors }), { times: 1 });
      await page.goto("/tasks");
      await page.getByText("No tasks yet").waitFor();
      await mark(page);
      await addTask(page, "In spite of it");
      assert.deepEqual(refused, ["POST"], "the API has refused the expired token");
      assert.equal(tokens.length, 2, "the one that had expired, and one renewal");
      assert.ok(await isMarked(page), "no navigation");
      assert.equal(await page.getByRole("alert").getByText(/./).count(), 0, "nothing was said");

      await page.getByRole("checkbox", { name: "In spite of it" }).check();
      await page.getByRole("status").getByText("Done: In spite of it").waitFor();
      assert.equal(tokens.length, 2, "and the new one is kept");
      await page.unrouteAll();
      await page.reload();
      assert.equal(await tasksShown(page), 1, "it was added once");
    });

    it("several requests at once renew an expired token together", async () => {
      const page = await person();
      await signUp(page, { next: "/tasks" });
      for (const title of ["One", "Two", "Three"]) await addTask(page, title);
      const expired = await expiredToken(page);
      let tokens = 0;
      await page.route("**/api/auth/token", async (route) => {
        tokens += 1;
        await (tokens === 1 ? route.fulfill({ json: { token: expired } }) : route.fallback());
      });
      // Three changes with one token that has expired: the list is given without the API, which would notice first.
      const list = await (await fetch(`${stack.apiUrl}/api/v1/tasks`, { headers: { authorization: `Bearer ${await freshToken(page)}` } })).json();
      const cors = { "access-control-allow-origin": stack.origin };
      await page.route(`${stack.apiUrl}/api/v1/tasks?**`, (route) => route.fulfill({ json: list, headers: cors }), { times: 1 });
      let refused = 0;
      page.on("response", (answer) => answer.url().startsWith(stack.apiUrl) && answer.status() === 401 && refused++);
      await page.reload();
      await page.getByRole("checkbox", { name: "One" }).waitFor();
      await page.evaluate(() => document.querySelectorAll("input[type=checkbox]").forEach((box) => box.click()));
      await page.waitForFunction(() => document.querySelectorAll(".task[data-completed=true]").length === 3);
      await page.waitForLoadState("networkidle");
      assert.equal(refused, 3, "each was refused once");
      assert.equal(tokens, 2, "one renewal for all three");
      await page.unrouteAll();
      await page.reload();
      await page.getByRole("checkbox", { name: "One" }).waitFor();
      assert.equal(await page.locator(".task[data-completed=true]").count(), 3);
    });

    it("where the renewed token is refused as well, there is the sign-in page, and no circle", async () => {
      const page = await person();
      const email = await signUp(page);
      const expired = await expiredToken(page);
      let tokens = 0;
      await page.route("**/api/auth/token", (route) => {
        tokens += 1;
        return route.fulfill({ json: { token: expired } });
      });
      await page.goto("/tasks?show=open");
      await page.waitForURL("**/sign-in?**");
      const { searchParams } = new URL(page.url());
      assert.equal(searchParams.get("next"), "/tasks?show=open");
      await page.getByText("Please sign in again to go on.").waitFor();
      assert.equal(tokens, 2, "one renewal, not more");
      // The session is good all the while. Nobody is sent back and forth because of that.
      await page.getByRole("button", { name: "Sign in" }).waitFor();
      assert.equal(new URL(page.url()).pathname, "/sign-in");

      await page.unrouteAll();
      await signIn(page, email);
      await arrive(page, "/tasks?show=open");
      await page.getByText("Nothing is waiting.").waitFor();
    });

    it("a session that is over leads to the sign-in page, whatever cookie is there", async () => {
      const page = await person();
      const email = await signUp(page, { next: "/tasks" });
      await addTask(page, "Before");
      const cookie = await cookiesOf(page);
      assert.equal((await visit("/tasks", cookie)).status, 200);
      // Ended from another device. This browser still has its cookie.
      const other = await person();
      await other.goto("/sign-in?next=/tasks");
      await signIn(other, email);
      await arrive(other, "/tasks");
      const revoked = await fetch(`${stack.origin}/api/auth/revoke-other-sessions`, {
        method: "POST",
        headers: { cookie: await cookiesOf(other), origin: stack.origin, "content-type": "application/json" },
        body: "{}",
      });
      assert.equal(revoked.status, 200);

      const madeUp = "better-auth.session_token=made.up";
      for (const [what, sent] of [["none", undefined], ["revoked", cookie], ["made up", madeUp]]) {
        // The last is no page at all: there only proxy.ts is in the way.
        for (const path of ["/tasks", "/dashboard", "/no-such-page"]) {
          const answer = await visit(path, sent);
          assert.equal(answer.status, 307, `${what}, ${path}`);
          const to = new URL(answer.headers.get("location"), stack.origin);
          assert.equal(to.pathname, "/sign-in", `${what}, ${path}`);
          // What they are led to is a page, not the next redirect.
          assert.equal((await visit(to, sent)).status, 200, `${what}, ${path}`);
        }
      }
      // In the page that was open, the next thing that needs a token leads there, too, and back.
      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await arrive(page, "/sign-in?next=%2Ftasks&reason=expired");
      await signIn(page, email);
      await arrive(page, "/tasks");
      await page.getByRole("checkbox", { name: "Before" }).waitFor();
    });

    it("two tabs: a sign-out closes both, and somebody else's sign-in is nobody's list", async () => {
      const one = await person();
      await signUp(one, { next: "/tasks" });
      await addTask(one, "Mine");
      const two = await one.context().newPage();
      await two.goto("/tasks");
      await two.getByRole("checkbox", { name: "Mine" }).waitFor();
      await one.bringToFront();
      await signOut(one);
      await arrive(two, "/sign-in?next=%2Ftasks&reason=expired");

      await signUp(one, { name: "Grace Hopper", next: "/tasks" });
      await addTask(one, "Hers");
      await two.bringToFront();
      await two.goto("/tasks");
      await two.getByRole("checkbox", { name: "Hers" }).waitFor();
      // Another account takes the place of Grace's in the first tab. The second cannot ask for the session, and so
      // does not hear of it until it needs a token.
      await two.route("**/api/auth/get-session*", (route) => route.abort());
      await one.bringToFront();
      await one.context().clearCookies();
      await signUp(one, { name: "Mary Somerville", next: "/tasks" });
      await two.bringToFront();
      const refusal = { status: 401, json: { detail: "Token expired" }, headers: { "access-control-allow-origin": stack.origin } };
      let refused = false;
      await two.route(`${stack.apiUrl}/api/v1/tasks`, (route) => {
        if (refused || route.request().method() !== "POST") return route.fallback();
        refused = true;
        return route.fulfill(refusal);
      });
      await two.getByLabel("New task").fill("For whom?");
      await two.getByRole("button", { name: "Add task" }).click();
      await two.getByRole("button", { name: "Account of Mary Somerville" }).waitFor();
      assert.equal(await tasksShown(two), 0, "what was typed for one account is not written into another");
      assert.ok(refused);
    });

    itOnce("`next` never leaves this site", async () => {
      const page = await person();
      await signUp(page);
      const cookie = await cookiesOf(page);
      for (const [next, expected] of [
        ["/tasks?show=done", "/tasks?show=done"],
        ["//elsewhere.example", "/dashboard"],
        ["/\\elsewhere.example", "/dashboard"],
        ["/\t/elsewhere.example", "/dashboard"],
        ["/.//elsewhere.example", "/dashboard"],
        ["https://elsewhere.example/", "/dashboard"],
        ["javascript:alert(1)", "/dashboard"],
        ["tasks", "/dashboard"],
        ["/sign-in?next=/tasks", "/dashboard"],
        ["/api/auth/sign-out", "/dashboard"],
        ["", "/dashboard"],
      ]) {
        const answer = await visit(`/sign-in?next=${encodeURIComponent(next)}`, cookie);
        assert.equal(answer.status, 307, next);
        assert.equal(new URL(answer.headers.get("location"), stack.origin).href, new URL(expected, stack.origin).href, JSON.stringify(next));
      }
      const twice = await visit("/sign-up?next=/tasks&next=//elsewhere.example", cookie);
      assert.equal(twice.headers.get("location"), "/dashboard");
    });

    it("what is refused is said at its field, announced, and gets the focus", async () => {
      const page = await person();
      const taken = await signUp(page, { next: "/tasks" });
      // 422 of the API, of which the form knows nothing: its limit is taken away.
      await page.getByLabel("New task").evaluate((field) => field.removeAttribute("maxlength"));
      await page.getByLabel("New task").fill("x".repeat(201));
      await page.getByRole("button", { name: "Add task" }).click();
      assert.match(await errorAt(page, "New task"), /200/);
      await signOut(page);

      await page.goto("/sign-up");
      await page.getByRole("button", { name: "Create account" }).click();
      assert.match(await errorAt(page, "Name"), /Enter your name/);
      assert.match(await errorAt(page, "Email address", { focused: false }), /Enter your email/);
      await page.getByLabel("Name").fill("Eve");
      for (const [email, password, label, said] of [
        [taken, PASSWORD, "Email address", /account with this address/],
        ["nonsense", PASSWORD, "Email address", /invalid email/i],
        [newAddress(), "short", "Password", /too short/i],
        [newAddress(), "password123", "Password", /common/i],
      ]) {
        await page.getByLabel("Email address").fill(email);
        await page.getByLabel("Password", { exact: true }).fill(password);
        await page.getByRole("button", { name: "Create account" }).click();
        assert.match(await errorAt(page, label, { containing: said }), said, `${email} ${password}`);
      }

      await page.goto("/sign-in");
      await signIn(page, taken, "not-the-password");
      const alert = page.getByRole("alert").filter({ hasText: "The email address or the password is wrong." });
      await alert.waitFor();
      assert.equal(await page.getByLabel("Password", { exact: true }).getAttribute("aria-invalid"), "false", "which of the two is not said");
    });

    /** The error that a screen reader reads with the field of this label. */
    async function errorAt(page, label, { focused = true, containing = /./ } = {}) {
      const field = page.getByLabel(label, { exact: true });
      const error = page.locator(".field", { has: field }).locator(".field-error").filter({ hasText: containing });
      await error.waitFor();
      assert.equal(await field.getAttribute("aria-invalid"), "true");
      const ids = (await field.getAttribute("aria-describedby")).split(" ");
      assert.ok(ids.includes(await error.getAttribute("id")), "the field is described by it");
      if (focused) assert.ok(await field.evaluate((element) => element === document.activeElement), `the focus is on ${label}`);
      return error.innerText();
    }

    itOnce("forms work with the keyboard alone, and passwords can be looked at", async () => {
      const page = await person();
      const email = await signUp(page);
      await signOut(page);
      await page.goto("/sign-in");
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Skip to content");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
      const focused = () => page.evaluate(() => document.activeElement?.getAttribute("name") ?? document.activeElement?.textContent);
      await page.keyboard.press("Tab");
      assert.equal(await focused(), "email");
      await page.keyboard.type(email);
      await page.keyboard.press("Tab");
      assert.equal(await focused(), "password");
      await page.keyboard.type(PASSWORD);
      const password = page.getByLabel("Password", { exact: true });
      assert.equal(await password.getAttribute("type"), "password");
      await page.keyboard.press("Tab");
      const toggle = page.getByRole("button", { name: "Show password" });
      assert.ok(await toggle.evaluate((element) => element === document.activeElement));
      assert.equal(await toggle.getAttribute("aria-pressed"), "false");
      await page.keyboard.press("Space");
      assert.equal(await toggle.getAttribute("aria-pressed"), "true");
      assert.equal(await password.getAttribute("type"), "text");
      assert.equal(await password.inputValue(), PASSWORD);
      assert.equal(await password.getAttribute("autocomplete"), "current-password");
      await page.keyboard.press("Shift+Tab");
      await page.keyboard.press("Enter");
      await arrive(page, "/dashboard");

      const account = page.getByRole("button", { name: "Account of Ada Lovelace" });
      await account.focus();
      await page.keyboard.press("Enter");
      await page.getByRole("button", { name: "Sign out" }).waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Sign out" }).waitFor({ state: "hidden" });
      assert.ok(await account.evaluate((element) => element === document.activeElement));
      await page.keyboard.press("Enter");
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      await arrive(page, "/sign-in?reason=signed-out");
    });

    /** axe-core, and whether anything is wider than the window. */
    async function findsNothing(page, what) {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), [], what);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what} fits into the window`);
    }

    // Each page in both schemes, once as narrow as it gets and once wide.
    for (const colorScheme of ["light", "dark"]) {
      itOnce(`axe finds nothing on any page, ${colorScheme}`, async () => {
        const viewport = colorScheme === "light" ? { width: 320, height: 640 } : { width: 1280, height: 800 };
        const page = await person({ colorScheme, viewport });
        const look = (what) => findsNothing(page, what);
        for (const path of ["/", "/sign-in", "/sign-up"]) {
          await page.goto(path);
          await look(path);
        }
        await page.getByRole("button", { name: "Create account" }).click();
        await page.locator(".field-error").first().waitFor();
        await look("/sign-up with errors");
        await page.goto("/sign-in?reason=expired");
        await signIn(page, "nobody@example.com");
        await page.getByRole("alert").filter({ hasText: "wrong" }).waitFor();
        await look("/sign-in with an error");

        await signUp(page, { name: "Ada Augusta King-Noel, Countess of Lovelace" });
        await look("/dashboard, empty");
        await page.goto("/tasks");
        await page.getByText("No tasks yet").waitFor();
        await look("/tasks, empty");
        await addTask(page, "Averylongwordwithoutanyplacewhereitcouldbebrokenapartatall".repeat(2));
        await addTask(page, "Short");
        await page.getByRole("checkbox", { name: "Short" }).check();
        await page.getByRole("status").getByText("Done: Short").waitFor();
        await look("/tasks");
        await page.getByRole("button", { name: "Edit Short" }).click();
        await page.getByRole("dialog").waitFor();
        await look("/tasks, dialog");
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: /^Account of/ }).click();
        await look("/tasks, user menu");
        await page.goto("/dashboard");
        await look("/dashboard");
        await page.goto("/no-such-page");
        await look("not found");
      });
    }

    itOnce("pages carry a strict content security policy, new for each", async () => {
      const [first, second] = await Promise.all([visit("/sign-in"), visit("/sign-in")]);
      const policy = first.headers.get("content-security-policy");
      assert.match(policy, /script-src 'self' 'nonce-[^']+' 'strict-dynamic';/);
      assert.doesNotMatch(policy, /unsafe/);
      assert.ok(policy.includes(`connect-src 'self' ${stack.apiUrl};`));
      assert.notEqual(policy, second.headers.get("content-security-policy"));
      const nonce = /'nonce-([^']+)'/.exec(policy)[1];
      const scripts = (await first.text()).match(/<script\b[^>]*>/g);
      assert.ok(scripts.length > 0 && scripts.every((script) => script.includes(`nonce="${nonce}"`)), "every script has it");
      for (const [name, value] of [["x-content-type-options", "nosniff"], ["x-frame-options", "DENY"], ["referrer-policy", "same-origin"]]) {
        assert.equal(first.headers.get(name), value);
      }
      assert.equal(first.headers.get("x-powered-by"), null);
      const page = await person();
      await signUp(page);
      const own = await visit("/dashboard", await cookiesOf(page));
      assert.match(own.headers.get("cache-control"), /no-store/, "nobody's page is kept anywhere");
    });

    itOnce("/api/auth is Portcullis' own answers: status, body, each cookie, and nothing beyond it", async () => {
      const call = (path, init = {}) => fetch(new URL(path, stack.origin), { redirect: "manual", ...init });
      const email = newAddress();
      const headers = { "content-type": "application/json", origin: stack.origin };
      const signedUp = await call("/api/auth/sign-up/email", { method: "POST", headers, body: JSON.stringify({ name: "Ada", email, password: PASSWORD }) });
      assert.equal(signedUp.status, 200);
      const [cookie] = signedUp.headers.getSetCookie();
      assert.match(cookie, /^better-auth\.session_token=[^;,]+;.*HttpOnly/i);
      assert.doesNotMatch(cookie, /domain=/i);
      const signedOut = await call("/api/auth/sign-out", { method: "POST", headers: { ...headers, cookie: cookie.split(";")[0] }, body: "{}" });
      const gone = signedOut.headers.getSetCookie();
      assert.ok(gone.length > 1, "several cookies");
      for (const one of gone) assert.match(one, /^better-auth\.[\w.]+=;/, "each in a header of its own");

      // Query and method arrive; so do refusals.
      const missing = await call("/api/auth/token?anything=%2F%20");
      assert.equal(missing.status, 401);
      const strange = await call("/api/auth/sign-in/email", { method: "POST", headers: { ...headers, origin: "https://elsewhere.example", cookie: cookie.split(";")[0] }, body: "{}" });
      assert.equal(strange.status, 403, "the browser's Origin arrives as it is");
      // Dots do not climb out of /api/auth, and no host but Portcullis is ever asked.
      // As they are: `fetch` would resolve the dots itself.
      for (const path of ["/api/auth/%2e%2e/%2e%2e/ready", "/api/auth/../../ready", "/api/auth/..%2f..%2fready", "/api/auth//elsewhere.example/", "/api/auth/https://elsewhere.example/"]) {
        const answer = await raw(stack.origin, path);
        assert.ok([307, 308, 400, 404].includes(answer.status), `${path}: ${answer.status}`);
        assert.doesNotMatch(answer.text, /"status":"ready"/, path);
        if (answer.location) assert.equal(new URL(answer.location, stack.origin).origin, stack.origin, path);
      }
      // A body that Portcullis does not want whole.
      const large = await call("/api/auth/sign-in/email", { method: "POST", headers, body: JSON.stringify({ email, password: "x".repeat(3 << 20) }) });
      assert.equal(large.status, 413);
    });

    // These two end servers, and so they come last. tasks-axum is one process with Portcullis: the second is about it.
    itOnce("when the task API is away, that is said, and nobody is signed out", async () => {
      const page = await person();
      await signUp(page, { next: "/tasks" });
      await addTask(page, "Kept");
      await mark(page);
      await stack.apiServer.stop();
      await page.getByLabel("New task").fill("Lost?");
      await page.getByRole("button", { name: "Add task" }).click();
      await page.getByRole("alert").getByText(/cannot be reached/).waitFor();
      assert.equal(await page.getByLabel("New task").inputValue(), "Lost?", "what was typed is still there");
      await page.getByRole("checkbox", { name: "Kept" }).click();
      await page.getByRole("alert").getByText(/cannot be reached/).nth(1).waitFor();
      assert.equal(await page.getByRole("checkbox", { name: "Kept" }).isChecked(), false, "a change that did not happen is taken back");
      assert.ok(await isMarked(page));
      await page.goto("/dashboard");
      await page.getByText("Your tasks cannot be shown just now").waitFor();
    });

    it("when Portcullis is away, nobody is signed out and nobody is let in", async () => {
      const page = await person();
      await signUp(page, { next: "/tasks" });
      const cookie = await cookiesOf(page);
      await mark(page);
      await stack.authServer.stop();
      const answer = await fetch(`${stack.origin}/api/auth/get-session`, { headers: { cookie } });
      assert.equal(answer.status, 502);
      assert.equal((await answer.json()).code, "AUTH_UNAVAILABLE");
      assert.equal((await visit("/tasks", cookie)).status, 503);
      assert.equal((await visit("/sign-in")).status, 200);

      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await page.getByRole("button", { name: /^Account of/ }).click();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("alert").getByText("You are still signed in").waitFor();
      assert.ok(await isMarked(page), "the page stays");
      await page.goto("/tasks");
      await page.getByRole("heading", { name: "We cannot tell who you are just now." }).waitFor();
      await findsNothing(page, "the page that says so");

      const visitor = await person();
      await visitor.goto("/sign-in");
      await signIn(visitor, "ada@example.com");
      await visitor.getByRole("alert").getByText("cannot be reached just now").waitFor();
    });
  });
}

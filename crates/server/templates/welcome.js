"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const api = document.body.dataset.api;

  const copy = $("copy");
  if (copy) {
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText($("curl").textContent);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren($("curl"));
        copy.textContent = "Selected";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    });
  }

  const form = $("credentials");
  if (!form) return;
  // Absent where nobody may sign up.
  const other = $("switch");
  const fields = ["name", "email", "password"];
  let signUp = false;
  let busy = false;

  /** Calls the API; throws an Error whose message can be shown. */
  async function call(path, body) {
    let answer;
    try {
      answer = await fetch(api + path, {
        method: body ? "POST" : "GET",
        headers: body ? { "content-type": "application/json" } : {},
        body: body ? JSON.stringify(body) : undefined,
      });
    } catch {
      throw new Error("The server cannot be reached. Is it still running?");
    }
    let data = null;
    try {
      data = await answer.json();
    } catch {
      // An answer without a body: its status is all there is to say.
    }
    if (!answer.ok) throw new Error((data && data.message) || `The server answered ${answer.status}.`);
    return data;
  }

  function wrong(field, text) {
    $(field + "-error").textContent = text;
    if (text) $(field).setAttribute("aria-invalid", "true");
    else $(field).removeAttribute("aria-invalid");
  }

  function mode(up) {
    signUp = up;
    $("name-field").hidden = !up;
    $("password").autocomplete = up ? "new-password" : "current-password";
    $("heading").textContent = $("submit").textContent = up ? "Create an account" : "Sign in";
    if (other) {
      $("switch-text").textContent = up ? "Have an account?" : "No account yet?";
      other.textContent = up ? "Sign in" : "Create one";
    }
    $("alert").textContent = "";
    for (const field of fields) wrong(field, "");
  }

  function show(session) {
    const inside = Boolean(session && session.user);
    $("out").hidden = inside;
    $("in").hidden = !inside;
    if (!inside) return;
    const { user } = session;
    $("user-name").textContent = user.name || user.email;
    $("user-email").textContent = user.email;
    $("avatar").textContent = (Array.from(user.name || user.email)[0] || "?").toUpperCase();
    $("user-id").textContent = user.id;
    $("user-verified").textContent = user.emailVerified ? "yes" : "not yet";
    $("session-until").textContent =
      new Date(session.session.expiresAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }

  async function during(button, work, alert) {
    if (busy) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    $(alert).textContent = "";
    try {
      await work();
    } catch (error) {
      $(alert).textContent = error.message;
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  }

  function check() {
    const empty = { name: "Enter a name.", email: "Enter an e-mail address.", password: "Enter a password." };
    let first = null;
    for (const field of fields) {
      let text = "";
      if (field !== "name" || signUp) {
        if (!$(field).value.trim()) text = empty[field];
        else if (field === "email" && !$(field).validity.valid) text = "This is not an e-mail address.";
      }
      wrong(field, text);
      if (text && !first) first = $(field);
    }
    if (first) first.focus();
    return !first;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!check()) return;
    during($("submit"), async () => {
      const body = { email: $("email").value.trim(), password: $("password").value };
      if (signUp) body.name = $("name").value.trim();
      const answer = await call(signUp ? "/sign-up/email" : "/sign-in/email", body);
      if (answer && answer.twoFactorRedirect) {
        throw new Error("This account also asks for a second factor. Finish signing in from your app.");
      }
      const session = await call("/get-session");
      if (!session) {
        const created = signUp;
        if (created) mode(false);
        throw new Error(created
          ? "The account was created. Confirm it with the mail that was sent, then sign in."
          : "There is no session: the cookie was not kept. Open this page at the address in baseURL.");
      }
      form.reset();
      show(session);
      $("status").textContent = "Signed in.";
      $("hello").focus();
    }, "alert");
  });

  if (other) other.addEventListener("click", () => {
    mode(!signUp);
    $(signUp ? "name" : "email").focus();
  });

  $("reveal").addEventListener("click", () => {
    const shown = $("password").type === "password";
    $("password").type = shown ? "text" : "password";
    $("reveal").setAttribute("aria-pressed", String(shown));
  });

  $("sign-out").addEventListener("click", () => during($("sign-out"), async () => {
    await call("/sign-out", {});
    mode(false);
    show(null);
    $("status").textContent = "Signed out.";
    $("email").focus();
  }, "out-alert"));

  for (const field of fields) $(field).addEventListener("input", () => wrong(field, ""));
  call("/get-session").then(show, (error) => { $("alert").textContent = error.message; });
})();

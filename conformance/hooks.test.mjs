// `databaseHooks` and functions for passwords as webhooks of both servers: the same hooks are called in
// the same steps, and their answers do the same.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { configuration, startFor, startWebhook, temporaryFolder } from "./target.mjs";

const PASSWORD = "correct horse battery";
const OTHER_PASSWORD = "another good one";
const EMAIL = "ada@example.com";

const MODELS = ["user", "session", "account", "verification"];
const VERBS = ["create", "update", "delete"];

/** Every hook there is, all at one URL. */
function everyHook(url) {
  const both = { before: { webhook: url }, after: { webhook: url } };
  const verbs = Object.fromEntries(VERBS.map((verb) => [verb, both]));
  return Object.fromEntries(MODELS.map((model) => [model, verbs]));
}

/** What a user does; each step is `[route, body]`. */
const steps = {
  "sign up": ["/sign-up/email", { name: "Ada", email: EMAIL, password: PASSWORD }],
  "sign in": ["/sign-in/email", { email: EMAIL, password: PASSWORD }],
  update: ["/update-user", { name: "Countess" }],
  "change password": ["/change-password", { currentPassword: PASSWORD, newPassword: OTHER_PASSWORD }],
  "change password and revoke": [
    "/change-password",
    { currentPassword: PASSWORD, newPassword: OTHER_PASSWORD, revokeOtherSessions: true },
  ],
  "sign out": ["/sign-out", {}],
  delete: ["/delete-user", { password: PASSWORD }],
};

const refused = { error: { status: "CONFLICT", message: "Not here", code: "NOT_HERE" } };
const broken = { error: { message: "boom" } };

/** A hook's answer, and what is done. */
const scenarios = [
  { name: "hooks that go on", answers: {}, does: ["sign up", "sign in", "update", "change password and revoke", "sign out"] },
  { name: "hooks that go on, at a deletion", answers: {}, does: ["sign up", "delete"] },
  { name: "a name laid over", answers: { "user.create.before": { result: { data: { name: "ADA" } } } }, does: ["sign up"] },
  { name: "a change laid over", answers: { "user.update.before": { result: { data: { image: "x" } } } }, does: ["sign up", "update"] },
  { name: "no to a user", answers: { "user.create.before": { result: false } }, does: ["sign up"] },
  { name: "a refused user", answers: { "user.create.before": refused }, does: ["sign up"] },
  { name: "a broken hook of a user", answers: { "user.create.before": broken }, does: ["sign up"] },
  { name: "no to an account", answers: { "account.create.before": { result: false } }, does: ["sign up", "sign in"] },
  { name: "no to a session", answers: { "session.create.before": { result: false } }, does: ["sign up", "sign in"] },
  { name: "a refused session", answers: { "session.create.before": refused }, does: ["sign up", "sign in"] },
  { name: "a broken hook of a session", answers: { "session.create.before": broken }, does: ["sign up", "sign in"] },
  { name: "no to a change of the password", answers: { "account.update.before": { result: false } },
    does: ["sign up", "change password", "sign in"] },
  { name: "no to the end of a session", answers: { "session.delete.before": { result: false } }, does: ["sign up", "sign out"] },
  { name: "a broken hook after a session was made", answers: { "session.create.after": broken }, does: ["sign up"] },
];

/** Status, code and message of each step, and the hooks that were called in it, sorted. */
async function played(t, kind, folder, { answers, does }) {
  const hook = await startWebhook(t, ({ callback }) => answers[callback.replace("databaseHooks.", "")] ?? { result: null });
  const server = await startFor(t, kind, {
    ...configuration(`sqlite:${path.join(folder, `${kind}.db`)}`),
    user: { deleteUser: { enabled: true } },
    databaseHooks: everyHook(hook.url),
  });
  const browser = server.browser();
  const record = [];
  for (const step of does) {
    const [route, body] = steps[step];
    hook.calls.length = 0;
    const answer = await browser.call("POST", route, { body });
    const json = answer.text.startsWith("{") ? answer.json : {};
    record.push({
      step,
      status: answer.status,
      code: json.code,
      message: json.message,
      name: json.user?.name,
      image: json.user?.image,
      cookies: browser.jar.names().sort(),
      hooks: hook.calls.map((call) => call.callback).sort(),
    });
  }
  return record;
}

for (const scenario of scenarios) {
  test(scenario.name, async (t) => {
    const folder = await temporaryFolder(t);
    const peer = await played(t, "peer", folder, scenario);
    const target = await played(t, "portcullis", folder, scenario);
    assert.deepEqual(target, peer);
  });
}

test("passwords that functions hash and compare", async (t) => {
  const folder = await temporaryFolder(t);
  for (const kind of ["peer", "portcullis"]) {
    const hook = await startWebhook(t, ({ callback, args }) =>
      callback.endsWith(".hash")
        ? { result: `own:${args[0]}` }
        : { result: args[0].hash === `own:${args[0].password}` });
    const server = await startFor(t, kind, {
      ...configuration(`sqlite:${path.join(folder, `${kind}.db`)}`),
      emailAndPassword: {
        enabled: true,
        password: { hash: { webhook: hook.url }, verify: { webhook: hook.url } },
      },
    });
    const browser = server.browser();
    const called = async (step, email = EMAIL) => {
      const [route, body] = steps[step];
      hook.calls.length = 0;
      const { status } = await browser.call("POST", route, { body: { ...body, ...(body.email && { email }) } });
      return [status, ...hook.calls.map((call) => call.callback.split(".").pop())];
    };
    assert.deepEqual(await called("sign up"), [200, "hash"], kind);
    assert.deepEqual(await called("sign in"), [200, "verify"], kind);
    // Somebody unknown costs one call, too; which of the two differs (docs/hooks.md).
    assert.equal((await called("sign in", "nobody@example.com")).length, 2, kind);
    assert.deepEqual((await called("change password")).sort(), [200, "hash", "verify"], kind);
  }
});

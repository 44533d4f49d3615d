// What several files of `differences/` need.
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { configuration, selfCheck, start, startFor, startWebhook } from "./target.mjs";

export const ADA = { name: "Ada", email: "ada@example.com", password: "correct horse battery" };

/** What an operator's function answers when it refuses, and when it fails. */
export const REFUSED = { error: { status: "CONFLICT", code: "NOT_HERE", message: "Not here" } };
export const BROKEN = { error: { message: "boom" } };

/** An answer's status, and its code or what it says without one. */
export const said = ({ status, text }) => [status, text.startsWith("{") ? JSON.parse(text).code : text].join(" ").trim();

/** Promise.withResolvers, which Node 20 has not. */
export function deferred() {
  let resolve;
  return { promise: new Promise((given) => (resolve = given)), resolve };
}

/** What a promise gives, if it does so within some seconds. */
export const soon = (promise, seconds, otherwise) => Promise.race([promise, sleep(seconds * 1000, otherwise, { ref: false })]);

/** Asks until it is so, but not for ever; and whether it is. */
export async function eventually(check, seconds = 20) {
  for (const end = Date.now() + seconds * 1000; !(await check()) && Date.now() < end; ) await sleep(50);
  return check();
}

/** Starts a server as for people, for the length of a test. `file` is its database. */
export async function startForPeople(t, kind, folder, over, env = { NODE_ENV: "production", PORTCULLIS_ENV: "production" }) {
  const file = path.join(folder, `${kind}.db`);
  const server = await startFor(t, kind, configuration(`sqlite:${file}`, over), { env });
  const post = async (browser, route, body) => said(await browser.call("POST", route, { body }));
  return { ...server, file, post };
}

/** Starts a server that ends by itself if it is better-auth, whose handler throws and has no framework around it. */
export async function startMortal(t, kind, config) {
  const server = await start(kind, config);
  const mortal = kind === "peer" || selfCheck;
  t.after(() => (mortal ? server.stop().catch(() => {}) : server.stop()));
  return server;
}

function isFine(answer) {
  if (answer !== "200") throw new Error(`the answer is ${answer}`);
}

/** A function that delivers mails, but none until it is told to. */
export async function startHeldMail(t) {
  let held;
  const { url, calls } = await startWebhook(t, async () => {
    await held;
    return { result: null };
  });
  /** Whether the answer waits for a mail that does not get away. */
  const waited = async (request) => {
    const { promise, resolve: letGo } = deferred();
    held = promise;
    const answer = request();
    // Longer than any request takes that waits for nobody.
    const first = await soon(answer.then(() => "answers"), 8, "waits for the mail");
    letGo();
    isFine(await answer);
    return first;
  };
  return { hook: { webhook: url }, calls, waited };
}

/** Whether even the quickest of some answers takes half a second. */
export async function halfASecond(request) {
  let least = Infinity;
  for (let tries = 0; tries < 5; tries++) {
    const began = performance.now();
    isFine(await request());
    least = Math.min(least, performance.now() - began);
  }
  return least >= 499;
}

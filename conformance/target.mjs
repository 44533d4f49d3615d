// Servers under test as processes, and the browser-like things that talk to them.
//
//   portcullis   $PORTCULLIS_BIN: the path of the binary, or a whole command
//   peer         the real better-auth (peer.mjs)
//
// Both take `--config FILE.json --port 0` and print `listening on URL`. With TEST_TARGET=oracle the peer
// stands in for Portcullis too, which tests the tests.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createAuthClient } from "better-auth/client";
import { jwtClient, multiSessionClient, twoFactorClient, usernameClient } from "better-auth/client/plugins";
import { makeFunctions, nameIn } from "./functions.mjs";

/** The public origin of every configuration here; requests carry it as `Origin`. */
export const ORIGIN = "http://localhost:3000";
export const SECRET = "conformance-secret-0123456789-ABCDEFGHIJ";

/** True when better-auth is measured against itself. */
export const selfCheck = process.env.TEST_TARGET === "oracle";

const peer = [process.execPath, fileURLToPath(new URL("peer.mjs", import.meta.url))];

/** Program and words of a server. */
export function command(kind) {
  if (kind === "peer" || selfCheck) return peer;
  const given = process.env.PORTCULLIS_BIN;
  if (!given) throw new Error("set PORTCULLIS_BIN to the binary under test, or TEST_TARGET=oracle for a self-check");
  return existsSync(given) ? [path.resolve(given)] : given.split(/\s+/);
}

/** What every configuration of these tests has; `over` replaces top-level keys. */
export function configuration(databaseUrl, over = {}) {
  return {
    baseURL: ORIGIN,
    secret: SECRET,
    database: { url: databaseUrl },
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    // Under the test contract both sides skip the origin check unless told not to.
    advanced: { disableOriginCheck: false },
    ...over,
  };
}

/** A folder that goes away with the test. */
export async function temporaryFolder(t) {
  const folder = await mkdtemp(path.join(tmpdir(), "portcullis-conformance-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

let shared;

/** One process for all peers of a test file: loading better-auth takes longer than most of what is asked of it. */
async function startPeer(config) {
  shared ??= spawned("peer", [...peer, "--multi"]).then((process) => {
    // It ends with this process, and is not waited for.
    process.child.unref();
    for (const pipe of [process.child.stdout, process.child.stderr]) pipe.unref();
    globalThis.process.on("exit", () => process.child.kill("SIGTERM"));
    return process;
  });
  const { url: factory } = await shared;
  return new Promise((resolve, reject) => {
    const request = http.request(factory, { method: "POST", agent: false }, (response) => {
      response.once("data", (chunk) => {
        if (response.statusCode !== 200) return reject(new Error(`peer: ${chunk}`));
        const url = `${chunk}`.trim();
        resolve({ kind: "peer", url, config, browser: () => new Browser(url), stop: async () => request.destroy() });
      });
      response.on("error", () => {});
    });
    request.on("error", reject);
    request.end(JSON.stringify(config));
  });
}

/** As `start`, where nothing is asked of the process itself. better-auth counts requests per process, not per instance. */
export const startLight = (kind, config) =>
  (kind === "peer" || selfCheck) && !config.rateLimit.enabled ? startPeer(config) : start(kind, config);

/** What tells a server that it is being tested. */
const CONTRACT = { TEST_CLOCK: "1" };

/**
 * Starts one server; `stop()` waits for its end and fails when that was not a clean one. `env` is laid over the
 * environment in place of the test contract, `within` is a folder to run in; without `config` there is no file of it.
 */
export async function start(kind, config, { env = CONTRACT, within } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), "portcullis-target-"));
  const file = path.join(folder, "config.json");
  if (config) await writeFile(file, JSON.stringify(config));
  const clean = () => rm(folder, { recursive: true, force: true });
  const words = [...command(kind), ...(config ? ["--config", file] : [])];
  const { child, url, ended, stderr } = await spawned(kind, words, within ?? folder, env).catch(async (error) => {
    await clean();
    throw error;
  });
  return {
    kind,
    url,
    config,
    /** A fresh browser: its own cookie jar. */
    browser: () => new Browser(url),
    /** What the server has said on stderr so far. */
    stderr,
    async stop() {
      child.kill("SIGTERM");
      const how = await ended;
      await clean();
      if (how.code !== 0) throw new Error(`${kind}: ended with ${JSON.stringify(how)} at SIGTERM\n${stderr()}`);
    },
  };
}

/** What is around, but for what would change what a server is. */
const { NODE_ENV: _node, PORTCULLIS_ENV: _ours, TEST_CLOCK: _clock, ...surroundings } = process.env;

/** A process that says where it listens. */
async function spawned(kind, [program, ...words], folder, env = CONTRACT) {
  const child = spawn(program, [...words, "--port", "0"], {
    cwd: folder,
    env: { ...surroundings, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve({ error }));
    // Not `exit`, after which there may be more to read of its last words.
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${kind}: not listening after 30 s\n${stderr}`));
    }, 30_000);
    ended.then((how) => {
      clearTimeout(timer);
      reject(new Error(`${kind}: ended before it listened: ${JSON.stringify(how)} ${how.error ?? ""}\n${stderr}`));
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /^listening on (http:\/\/\S+)$/.exec(line);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[1]);
    });
  });
  return { child, url, ended, stderr: () => stderr };
}

/** Starts one server for the length of a test. */
export async function startFor(t, kind, config, options) {
  const server = await start(kind, config, options);
  t.after(() => server.stop());
  return server;
}

/** One Set-Cookie header: name, value as sent, attributes in order. */
export function parseSetCookie(header) {
  const [pair, ...attributes] = header.split(/;\s*/);
  const at = pair.indexOf("=");
  return {
    name: pair.slice(0, at),
    value: pair.slice(at + 1),
    attributes: attributes.map((one) => {
      const eq = one.indexOf("=");
      return eq < 0 ? [one, true] : [one.slice(0, eq), one.slice(eq + 1)];
    }),
  };
}

/** Cookies of one browser; attributes are looked at only to forget what is expired. */
export class Jar {
  #cookies = new Map();
  /** Seconds that are left. */
  #left = new Map();

  take(setCookies) {
    for (const header of setCookies) {
      const { name, value, attributes } = parseSetCookie(header);
      const age = attributes.find(([key]) => key.toLowerCase() === "max-age");
      if (age && Number(age[1]) <= 0) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
      this.#left.set(name, age ? Number(age[1]) : Infinity);
    }
  }

  /** So much time goes by for a cookie: a browser does not send what is over. */
  age(name, seconds) {
    const left = (this.#left.get(name) ?? Infinity) - seconds;
    this.#left.set(name, left);
    if (left <= 0) this.#cookies.delete(name);
  }

  get(name) {
    return this.#cookies.get(name);
  }

  set(name, value) {
    this.#cookies.set(name, value);
  }

  delete(name) {
    return this.#cookies.delete(name);
  }

  clear() {
    this.#cookies.clear();
  }

  names() {
    return [...this.#cookies.keys()];
  }

  header() {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  copy() {
    const other = new Jar();
    for (const [name, value] of this.#cookies) other.set(name, value);
    for (const [name, left] of this.#left) other.#left.set(name, left);
    return other;
  }
}

/** A user agent at one server: sends its cookies and an Origin, keeps what it is given. */
export class Browser {
  constructor(url, jar = new Jar()) {
    this.url = url;
    this.jar = jar;
  }

  /** Another browser with the same cookies at (possibly) another server. */
  at(server) {
    return new Browser(server.url, this.jar.copy());
  }

  /** `fetch` with this browser's cookies; what the better-auth client is given. */
  fetch = async (input, init = {}) => {
    const headers = new Headers(init.headers);
    if (!headers.has("origin")) headers.set("origin", ORIGIN);
    const cookies = this.jar.header();
    if (cookies) headers.set("cookie", cookies);
    const response = await fetch(input, { ...init, headers, redirect: "manual" });
    this.jar.take(response.headers.getSetCookie());
    return response;
  };

  /** The real better-auth client, with the plugins of these tests. */
  client(fetchOptions = {}) {
    return createAuthClient({
      baseURL: this.url,
      disableDefaultFetchPlugins: true,
      fetchOptions: { customFetchImpl: this.fetch, ...fetchOptions },
      plugins: [usernameClient(), twoFactorClient(), multiSessionClient(), jwtClient()],
    });
  }

  /** One JSON request under /api/auth, whatever its outcome. */
  async call(method, route, { query, body, headers } = {}) {
    const answer = await raw(this.url, {
      method,
      path: `/api/auth${route}${query ? `?${new URLSearchParams(query)}` : ""}`,
      headers: {
        origin: ORIGIN,
        ...(this.jar.header() && { cookie: this.jar.header() }),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    });
    this.jar.take(answer.setCookies);
    return answer;
  }
}

/** A request exactly as given: node:http adds nothing but Host and the length of the body. */
export function raw(base, { method, path: route, headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const url = new URL(route, base);
    const sent = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
    if (body !== undefined) sent["content-length"] = Buffer.byteLength(body);
    const request = http.request(url, { method, headers: sent, agent: false }, (response) => {
      const chunks = [];
      response.on("error", reject);
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({
          at: Date.now(),
          status: response.statusCode,
          headers: response.headers,
          setCookies: response.headers["set-cookie"] ?? [],
          text,
          get json() {
            return JSON.parse(text);
          },
        });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/**
 * Receives the operator callbacks of the servers; `calls` has them in order. `answer` is given one and
 * returns `{result}` or `{error}`, at once or later. Below its URL are the functions of functions.mjs.
 */
export async function startWebhook(t, answer = () => ({ result: null })) {
  const calls = [];
  const functions = makeFunctions();
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const call = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    const name = nameIn(request.url);
    if (!name) calls.push(call);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(name ? { result: functions[name](...call.args) } : await answer(call)));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${server.address().port}/hook`, calls };
}

// The real better-auth behind one process, configured by the same JSON file as Portcullis:
//   node peer.mjs --config FILE.json --port 0
//   node peer.mjs --multi --port 0          any number of them, each for as long as a connection lasts
// Prints `listening on http://127.0.0.1:PORT` when ready; ends with 0 at SIGTERM. It knows what these
// tests need and refuses the rest, so that a test cannot believe in an option that nobody reads.
import { readFileSync } from "node:fs";
import http from "node:http";
import { parseArgs } from "node:util";
import { installClock, runAt } from "./clock.mjs";
import { makeFunctions, nameIn } from "./functions.mjs";

const { values: args } = parseArgs({
  options: { config: { type: "string" }, port: { type: "string", default: "0" }, multi: { type: "boolean" } },
});
// better-auth reads NODE_ENV while it is being imported; `test` is what Portcullis' test mode equals.
const test = process.env.TEST_CLOCK === "1";
if (test) {
  process.env.NODE_ENV = "test";
  installClock();
}

const { betterAuth } = await import("better-auth");
const { APIError } = await import("better-auth/api");
const { getMigrations } = await import("better-auth/db/migration");
const { toNodeHandler } = await import("better-auth/node");
const { admin, anonymous, bearer, jwt, multiSession, twoFactor, username } = await import("better-auth/plugins");

/** better-auth uses what these return without waiting for it, so they cannot be asked over HTTP: functions.mjs has them. */
const SYNCHRONOUS = /generateId$|\.(defaultValue|onUpdate)$|\.transform\.|~standard|customSyntheticUser$|Normalization$/;

/** What may know of the request: `hooks-context` in COMPATIBILITY.md says why the rest stays behind. */
function headersOf(headers) {
  const { cookie, authorization, ...rest } = Object.fromEntries(new Headers(headers));
  return rest;
}

/** An argument as it travels; `sendOTP` alone sees the body (docs/hooks.md). */
function travelling(argument, callback) {
  if (argument instanceof Request || argument?.constructor?.name === "Request") {
    return { $type: "Request", url: argument.url, method: argument.method, headers: headersOf(argument.headers) };
  }
  if (typeof argument !== "object" || argument === null || argument instanceof Date) return argument;
  if (argument.internalAdapter) return { $type: "AuthContext", baseURL: argument.baseURL, appName: argument.appName };
  if (argument.context?.internalAdapter) {
    const { path, request, query, params, headers = request?.headers } = argument;
    const method = argument.method ?? request?.method;
    return { $type: "Context", path, method, url: request?.url, headers: headersOf(headers), query, params, ...(callback.endsWith("sendOTP") && { body: argument.body }) };
  }
  if (argument instanceof Error) return { name: argument.name, message: argument.message, status: argument.status };
  if (Array.isArray(argument)) return argument.map((one) => travelling(one, callback));
  return Object.fromEntries(Object.entries(argument).map(([key, value]) => [key, travelling(value, callback)]));
}

/** An operator's function that lives elsewhere: POST {callback, args} → {result}. */
function webhook(callback, url, functions) {
  const here = functions[nameIn(url)];
  if (SYNCHRONOUS.test(callback) !== Boolean(here)) throw new Error(`the peer cannot ask ${callback} at ${url}`);
  if (here) return here;
  return async (...args) => {
    const body = JSON.stringify({ callback, args: args.map((one) => travelling(one, callback)) });
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { result, error } = await answer.json();
    if (error?.status) throw new APIError(error.status, { message: error.message, code: error.code });
    if (error) throw new Error(error.message);
    return result ?? undefined;
  };
}

/** `{webhook}` anywhere in these options becomes the function. */
function revived(value, path, functions) {
  if (typeof value !== "object" || value === null) return value;
  if (typeof value.webhook === "string") return webhook(path, value.webhook, functions);
  if (Array.isArray(value)) return value.map((inner, index) => revived(inner, `${path}.${index}`, functions));
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, revived(inner, path ? `${path}.${key}` : key, functions)]),
  );
}

const factories = { admin, anonymous, bearer, jwt, multiSession, twoFactor, username };

async function open(url) {
  if (url.startsWith("sqlite:")) {
    const { default: Database } = await import("better-sqlite3");
    const database = new Database(url.slice("sqlite:".length));
    database.pragma("journal_mode = WAL");
    database.pragma("busy_timeout = 5000");
    return database;
  }
  if (/^postgres(ql)?:/.test(url)) {
    const { default: pg } = await import("pg");
    const pool = new pg.Pool({ connectionString: url, max: 4 });
    // The database may end before this process does.
    return pool.on("error", () => {});
  }
  if (url.startsWith("mysql:")) {
    const { createPool } = await import("mysql2/promise");
    return createPool({ uri: url, timezone: "Z", connectionLimit: 4 });
  }
  throw new Error(`the peer has no database for ${url}`);
}

/** `{url, keyPrefix}` is Portcullis' way to say what `@better-auth/redis-storage` is given in JavaScript; else functions. */
async function storage({ url, keyPrefix, ...own }) {
  if (!url) return revived(own, "secondaryStorage", {});
  const { redisStorage } = await import("@better-auth/redis-storage");
  const { default: Redis } = await import("ioredis");
  return redisStorage({ client: new Redis(url), keyPrefix });
}

/** A handler for one configuration. */
async function configured(config) {
  // These are Portcullis' own: better-auth has one hash, no listener, and nothing that runs by itself.
  const { passwordHash: _hash, http: _http, purge: _purge, ...shared } = config;
  const { database, plugins = {}, migrate = true, secondaryStorage, ...options } = shared;
  const functions = makeFunctions();
  const auth = betterAuth({
    ...revived(options, "", functions),
    ...(database && { database: await open(database.url) }),
    ...(secondaryStorage && { secondaryStorage: await storage(secondaryStorage) }),
    plugins: Object.entries(plugins).map(([name, value]) => {
      if (!factories[name]) throw new Error(`the peer has no plugin ${name}`);
      return factories[name](value === true ? {} : revived(value, `plugins.${name}`, functions));
    }),
    telemetry: { enabled: false },
    logger: process.env.PEER_LOG ? { level: process.env.PEER_LOG } : { disabled: true },
  });
  if (migrate && database) await (await getMigrations((await auth.$context).options)).runMigrations();
  const handler = toNodeHandler(auth.handler);
  return (request, response) => {
    const now = test ? Number(request.headers["x-test-now"] ?? Number.NaN) : Number.NaN;
    delete request.headers["x-test-now"];
    return runAt(now, () => handler(request, response));
  };
}

function listen(handler, port) {
  const server = http.createServer(handler);
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => resolve([`http://127.0.0.1:${server.address().port}`, server]));
  });
}

/** POST of a configuration starts one more server in this process, for as long as the request's connection lasts. */
async function another(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const [url, server] = await listen(await configured(JSON.parse(Buffer.concat(chunks).toString("utf8"))), 0);
    response.on("close", () => server.close());
    response.write(`${url}\n`);
  } catch (error) {
    response.statusCode = 500;
    response.end(error.stack);
  }
}

process.on("SIGTERM", () => process.exit(0));
const [url] = await listen(args.multi ? another : await configured(args.config ? JSON.parse(readFileSync(args.config, "utf8")) : {}), Number(args.port));
console.log(`listening on ${url}`);

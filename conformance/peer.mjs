// The real better-auth behind one process, configured by the same JSON file as Portcullis:
//   node peer.mjs --config FILE.json --port 0
// Prints `listening on http://127.0.0.1:PORT` when ready; ends with 0 at SIGTERM. It knows what these
// tests need and refuses the rest, so that a test cannot believe in an option that nobody reads.
import { readFileSync } from "node:fs";
import http from "node:http";
import { parseArgs } from "node:util";

const { values: args } = parseArgs({ options: { config: { type: "string" }, port: { type: "string", default: "0" } } });
// better-auth reads NODE_ENV while it is being imported; `test` is what Portcullis' test mode equals.
if (process.env.TEST_CLOCK === "1") process.env.NODE_ENV = "test";

const { betterAuth } = await import("better-auth");
const { APIError } = await import("better-auth/api");
const { getMigrations } = await import("better-auth/db/migration");
const { toNodeHandler } = await import("better-auth/node");
const { bearer, jwt, multiSession, twoFactor, username } = await import("better-auth/plugins");

/** An operator's function that lives elsewhere: POST {callback, args} → {result}. */
function webhook(callback, { webhook: url }) {
  return async (...args) => {
    // The last argument is better-auth's context, which does not travel.
    const body = JSON.stringify({ callback, args: args.slice(0, 1) });
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { result, error } = await answer.json();
    if (error?.status) throw new APIError(error.status, { message: error.message, code: error.code });
    if (error) throw new Error(error.message);
    return result ?? undefined;
  };
}

/** `{webhook}` anywhere in these options becomes the function. */
function revived(value, path) {
  if (typeof value !== "object" || value === null) return value;
  if (typeof value.webhook === "string") return webhook(path, value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revived(inner, `${path}.${key}`)]));
}

const factories = {
  bearer,
  jwt,
  multiSession,
  username,
  twoFactor({ otpOptions, ...rest }) {
    const sendOTP = otpOptions?.sendOTP && webhook("plugins.twoFactor.otpOptions.sendOTP", otpOptions.sendOTP);
    return twoFactor({ ...rest, ...(otpOptions && { otpOptions: { ...otpOptions, ...(sendOTP && { sendOTP }) } }) });
  },
};

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
    return new pg.Pool({ connectionString: url, max: 4 });
  }
  if (url.startsWith("mysql:")) {
    const { createPool } = await import("mysql2/promise");
    return createPool({ uri: url, timezone: "Z", connectionLimit: 4 });
  }
  throw new Error(`the peer has no database for ${url}`);
}

/** `{url, keyPrefix}` is Portcullis' way to say what `@better-auth/redis-storage` is given in JavaScript. */
async function storage({ url, keyPrefix }) {
  const { redisStorage } = await import("@better-auth/redis-storage");
  const { default: Redis } = await import("ioredis");
  return redisStorage({ client: new Redis(url), keyPrefix });
}

// `passwordHash` and `http` are Portcullis' own: better-auth has one hash, and no listener.
const { database, plugins = {}, migrate = true, passwordHash: _hash, http: _http, secondaryStorage, ...options } = JSON.parse(
  readFileSync(args.config, "utf8"),
);
const { databaseHooks, emailAndPassword: { password, ...emailAndPassword } = {} } = options;
const auth = betterAuth({
  ...options,
  databaseHooks: revived(databaseHooks, "databaseHooks"),
  emailAndPassword: { ...emailAndPassword, password: revived(password, "emailAndPassword.password") },
  database: await open(database.url),
  ...(secondaryStorage && { secondaryStorage: await storage(secondaryStorage) }),
  ...(options.emailAndPassword?.sendResetPassword && {
    emailAndPassword: {
      ...options.emailAndPassword,
      sendResetPassword: webhook("emailAndPassword.sendResetPassword", options.emailAndPassword.sendResetPassword),
    },
  }),
  plugins: Object.entries(plugins).map(([name, value]) => {
    if (!factories[name]) throw new Error(`the peer has no plugin ${name}`);
    return factories[name](value === true ? {} : value);
  }),
  telemetry: { enabled: false },
  logger: process.env.PEER_LOG ? { level: process.env.PEER_LOG } : { disabled: true },
});
if (migrate) await (await getMigrations((await auth.$context).options)).runMigrations();

process.on("SIGTERM", () => process.exit(0));
const server = http.createServer(toNodeHandler(auth.handler));
server.listen(Number(args.port), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

// Better Auth on Bun, configured by the same JSON file as the other contenders:
//   node_modules/.bin/bun server.mjs --config FILE.json --port 0
// better-auth is the one that conformance/ pins: `npm ci` there first. SQLite and the HTTP server are
// Bun's own.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: args } = parseArgs({
  args: Bun.argv.slice(2),
  options: { config: { type: "string" }, port: { type: "string", default: "0" } },
});
const pinned = createRequire(new URL("../../../conformance/package.json", import.meta.url));
const load = (name) => import(pathToFileURL(pinned.resolve(name)).href);
const { betterAuth } = await load("better-auth");
const { getMigrations } = await load("better-auth/db/migration");

async function open(url) {
  if (url.startsWith("sqlite:")) {
    const { Database } = await import("bun:sqlite");
    const database = new Database(url.slice("sqlite:".length), { create: true });
    // As conformance/peer.mjs sets it up on Node.
    database.exec("pragma journal_mode = WAL");
    database.exec("pragma busy_timeout = 5000");
    return database;
  }
  if (/^postgres(ql)?:/.test(url)) {
    const { default: pg } = await load("pg");
    return new pg.Pool({ connectionString: url });
  }
  throw new Error(`no database for ${url}`);
}

// `passwordHash` and `http` are Portcullis' own.
const { database, passwordHash: _hash, http: _http, plugins = {}, ...options } = await Bun.file(args.config).json();
if (Object.keys(plugins).length > 0) throw new Error("plugins are not measured on Bun");
const auth = betterAuth({
  ...options,
  database: await open(database.url),
  telemetry: { enabled: false },
  logger: { disabled: true },
});
await (await getMigrations((await auth.$context).options)).runMigrations();

const server = Bun.serve({ hostname: "127.0.0.1", port: Number(args.port), fetch: auth.handler });
process.on("SIGTERM", () => process.exit(0));
console.log(`listening on http://127.0.0.1:${server.port}`);

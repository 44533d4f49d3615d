// What the contenders serve: users, passwords and sessions, in an SQLite file or a PostgreSQL database of
// each. Every turn begins with the same data.
import { createHmac, randomBytes } from "node:crypto";
import { copyFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { startDatabase } from "../conformance/databases.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
// The packages of the conformance suite, by its lockfile.
const packages = createRequire(path.join(here, "../conformance/package.json"));

export const id = () => randomBytes(24).toString("base64url").replace(/[-_]/g, "x");

export const cookie = (secret, token) =>
  // As it is: one of the rivals does not decode what is percent-encoded.
  `better-auth.session_token=${token}.${createHmac("sha256", secret).update(token).digest("base64")}`;

/** Users with a session each. */
export const people = (many) =>
  Array.from({ length: many }, (_, number) => ({ userId: id(), email: `u${number}@example.com`, token: id() }));

const USER = ["id", "name", "email", "emailVerified", "createdAt", "updatedAt"];
const ACCOUNT = ["id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt"];
const SESSION = ["id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress", "userAgent", "userId"];

/** The rows of `people`, by table; `more` sessions are spread over them. */
function* rows(everybody, hash, more, verified) {
  const now = new Date().toISOString();
  const later = new Date(Date.now() + 6.5 * 86_400_000).toISOString();
  const session = (token, userId) => ["session", [id(), later, token, now, now, "127.0.0.1", "bench", userId]];
  for (const { userId, email, token } of everybody) {
    yield ["user", [userId, "Some Body", email, verified, now, now]];
    yield ["account", [id(), userId, "credential", userId, hash, now, now]];
    yield session(token, userId);
  }
  for (let number = 0; number < more.length; number += 1) {
    yield session(more[number], everybody[number % everybody.length].userId);
  }
}

const TABLES = { user: USER, account: ACCOUNT, session: SESSION };
const names = (columns) => columns.map((column) => `"${column}"`).join(", ");

/** SQLite files below a folder. */
export function sqlite(folder) {
  const Database = packages("better-sqlite3");
  return {
    stop: () => {},
    async place(name) {
      const file = path.join(folder, `${name.replaceAll(/\W+/g, "-")}.db`);
      const clear = () => ["", "-wal", "-shm"].forEach((end) => rmSync(`${file}${end}`, { force: true }));
      return {
        url: `sqlite:${file}`,
        /** The hash that its server has made. */
        async hash() {
          const database = new Database(file);
          const { password } = database.prepare("select password from account").get();
          database.close();
          return password;
        },
        async fill(everybody, hash, more = []) {
          const database = new Database(file);
          const insert = Object.fromEntries(
            Object.entries(TABLES).map(([table, columns]) => [
              table,
              database.prepare(`insert into "${table}" (${names(columns)}) values (${columns.map(() => "?").join(", ")})`),
            ]),
          );
          database.transaction(() => {
            for (const [table, values] of rows(everybody, hash, more, 1)) insert[table].run(...values);
          })();
          // Of all: it stays with the file, and some of the rivals would not ask for it.
          database.pragma("journal_mode = WAL");
          database.pragma("wal_checkpoint(TRUNCATE)");
          database.close();
          copyFileSync(file, `${file}.seed`);
        },
        async reset() {
          clear();
          copyFileSync(`${file}.seed`, file);
        },
      };
    },
  };
}

/** Databases of one PostgreSQL, which is started for it. */
export async function postgres() {
  const { Client } = packages("pg");
  let stop = () => {};
  const server = await startDatabase({ after: (end) => (stop = end), skip: (why) => { throw new Error(why); } }, "postgres");
  let at = 0;
  return {
    stop: () => stop(),
    async place() {
      const name = `bench_${(at += 1)}`;
      const url = await server.create(name);
      const within = async (database, work) => {
        const client = new Client({ connectionString: url.replace(/[^/]*$/, database) });
        await client.connect();
        try {
          return await work(client);
        } finally {
          await client.end();
        }
      };
      return {
        url,
        hash: () => within(name, async (client) => (await client.query("select password from account")).rows[0].password),
        async fill(everybody, hash, more = []) {
          await within(name, async (client) => {
            const batches = { user: [], account: [], session: [] };
            const flush = async (table) => {
              const columns = TABLES[table];
              const lists = columns.map((_, column) => batches[table].map((values) => values[column]));
              batches[table] = [];
              const from = columns.map((column, index) => `$${index + 1}::${/At$/.test(column) ? "timestamptz" : column === "emailVerified" ? "bool" : "text"}[]`);
              await client.query(`insert into "${table}" (${names(columns)}) select * from unnest(${from.join(", ")})`, lists);
            };
            for (const [table, values] of rows(everybody, hash, more, true)) {
              batches[table].push(values);
              // What points to a user comes after it.
              if (batches.session.length >= 5000) for (const each of ["user", "account", "session"]) await flush(each);
            }
            for (const each of ["user", "account", "session"]) if (batches[each].length) await flush(each);
            await client.query("analyze");
          });
          await within("postgres", (client) => client.query(`create database ${name}_seed template ${name}`));
        },
        async reset() {
          await within("postgres", async (client) => {
            await client.query(`drop database ${name} with (force)`);
            await client.query(`create database ${name} template ${name}_seed`);
          });
        },
      };
    },
  };
}

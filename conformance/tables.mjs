// Every row of every table, straight from the database, and what of it a case has added, changed and removed.
// Both servers begin with empty tables and each case's changes are compared, so that together all rows are.
//
// A database of one server is `{url, read, settings}`: `read` answers table → id → row, in the order of insertion.
import path from "node:path";
import Database from "better-sqlite3";
import { PREFIX } from "./compare.mjs";

/** Tables that only Portcullis has. */
const OURS = ["portcullisMail"];

/** Rows that only Portcullis has, each with its id in COMPATIBILITY.md. */
const OUR_ROWS = [
  // `totp-once`: the step of a code that has finished a sign-in.
  { tables: ["verification", "secondary storage"], is: (row) => row.identifier.startsWith("2fa-totp-") },
];

/** `fields-carried`: empty at one of the two. */
const CARRIED = ["device", "theme"];

/** Columns that are the same text for all time, so that rows can be put in an order of ours. */
function blind(row) {
  const text = (value) => {
    if (typeof value !== "string" || /^(?!.*[A-Za-z0-9]{32}@)[^{]*@/.test(value)) return value;
    return /\d|[A-Za-z0-9_-]{20}/.test(value) ? `${PREFIX.exec(value)?.[0] ?? ""}…` : value;
  };
  return JSON.stringify(Object.entries(row).filter(([key]) => !CARRIED.includes(key)).map(([key, value]) => [key, text(value)]));
}

const byId = (rows) => new Map(rows.map((row) => [row.id, row]));

/** Table → id → row of an SQLite file. */
export function readTables(file) {
  const database = new Database(file, { readonly: true });
  try {
    return database.transaction(() => {
      const names = database.prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'").pluck().all();
      return new Map(names.map((name) => [name, byId(database.prepare(`select * from "${name}" order by rowid`).all())]));
    })();
  } finally {
    database.close();
  }
}

/** SQLite, in this folder. */
export const inFolder = (folder) => (name) => {
  const file = path.join(folder, `${name}.db`);
  return { url: `sqlite:${file}`, read: () => readTables(file) };
};

/** A server of databases.mjs. */
export const onServer = (server) => async (name) => {
  const url = await server.create(name);
  const quoted = (table) => (url.startsWith("mysql:") ? `\`${table}\`` : `"${table}"`);
  return {
    url,
    async read() {
      const tables = new Map();
      const names = await server.query(url, `select table_name as name from information_schema.tables where table_schema in ('public', '${name}')`);
      for (const { name: table } of names) {
        const rows = await server.query(url, `select * from ${quoted(table)}`);
        // Dates become texts. Neither server keeps the order of insertion.
        tables.set(table, byId(JSON.parse(JSON.stringify(rows)).sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1))));
      }
      return tables;
    },
  };
};

/** The same with secondary storage, which is one more table: what is stored under each key. */
export const withRedis = (redis, database) => async (name) => {
  const { url, read } = await database(name);
  const keyPrefix = `${name}:`;
  const since = ({ value }) => /"(?:createdAt|expiresAt)":"?([^",}]*)/.exec(value)?.[1];
  return {
    url,
    settings: { secondaryStorage: { url: redis.url, keyPrefix } },
    async read() {
      const keys = (await redis.client.keys(`${keyPrefix}*`)).map((key) => key.slice(keyPrefix.length));
      const rows = [];
      for (const id of keys) {
        const kind = /^(?:verification:|active-sessions-)?/.exec(id)[0];
        rows.push({ id, kind, identifier: id.slice(kind.length), value: await redis.client.get(keyPrefix + id) });
      }
      rows.sort((a, b) => (since(a) < since(b) ? -1 : 1));
      return new Map([...(await read()), ["secondary storage", new Map(rows.map(({ id, ...row }) => [id, row]))]]);
    },
  };
};

/** What has happened between two readings: `{table: {added, changed, removed}}`, rows in comparable order. */
export function changes(before, now) {
  const found = {};
  for (const [name, rows] of now) {
    const old = before?.get(name) ?? new Map();
    if (OURS.includes(name)) continue;
    const own = (row) => OUR_ROWS.some((one) => one.tables.includes(name) && one.is(row));
    const where = (map, is) => [...map].filter(([id, row]) => is(id, row)).map(([, row]) => row);
    const all = {
      added: where(rows, (id) => !old.has(id)),
      changed: where(rows, (id, row) => old.has(id) && JSON.stringify(old.get(id)) !== JSON.stringify(row)),
      removed: where(old, (id) => !rows.has(id)),
    };
    for (const [kind, list] of Object.entries(all)) {
      const keyed = list.filter((row) => !own(row)).map((row) => [blind(row), row]);
      // Array.prototype.sort is stable: of rows that look alike the older one comes first.
      all[kind] = keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, row]) => row);
    }
    found[name] = all;
  }
  return found;
}

/** Rows of Portcullis' own tables. */
export const ourRows = (tables) => OURS.reduce((sum, name) => sum + (tables.get(name)?.size ?? 0), 0);

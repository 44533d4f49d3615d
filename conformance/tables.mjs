// Every row of every table, straight from a SQLite file, and what of it a case has added, changed and removed.
// Both servers begin with empty tables and each case's changes are compared, so that together all rows are.
import Database from "better-sqlite3";
import { PREFIX } from "./compare.mjs";

/** Tables that only Portcullis has. */
const OURS = ["portcullisMail"];

/** Rows that only Portcullis has, each with its id in COMPATIBILITY.md. */
const OUR_ROWS = [
  // `totp-once`: the step of a code that has finished a sign-in.
  { table: "verification", is: (row) => row.identifier.startsWith("2fa-totp-") },
];

/** Columns that are the same text for all time, so that rows can be put in an order of ours. */
function blind(row) {
  const text = (value) => {
    if (typeof value !== "string" || value.includes("@")) return value;
    return /\d|[A-Za-z0-9_-]{20}/.test(value) ? `${PREFIX.exec(value)?.[0] ?? ""}…` : value;
  };
  return JSON.stringify(Object.entries(row).map(([key, value]) => [key, text(value)]));
}

/** Table → id → row, in the order of insertion. */
export function readTables(file) {
  const database = new Database(file, { readonly: true });
  try {
    return database.transaction(() => {
      const names = database.prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'").pluck().all();
      const tables = new Map();
      for (const name of names) {
        const rows = database.prepare(`select * from "${name}" order by rowid`).all();
        tables.set(name, new Map(rows.map((row) => [row.id, row])));
      }
      return tables;
    })();
  } finally {
    database.close();
  }
}

/** What has happened between two readings: `{table: {added, changed, removed}}`, rows in comparable order. */
export function changes(before, now) {
  const found = {};
  for (const [name, rows] of now) {
    const old = before?.get(name) ?? new Map();
    if (OURS.includes(name)) continue;
    const own = (row) => OUR_ROWS.some((one) => one.table === name && one.is(row));
    const all = {
      added: [...rows.values()].filter((row) => !old.has(row.id)),
      changed: [...rows.values()].filter((row) => old.has(row.id) && JSON.stringify(old.get(row.id)) !== JSON.stringify(row)),
      removed: [...old.values()].filter((row) => !rows.has(row.id)),
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

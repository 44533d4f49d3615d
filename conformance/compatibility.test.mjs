// COMPATIBILITY.md and the tests agree: every row is shown at both servers, and what is shown as a difference is a row.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { deviations, everywhere } from "./deviations.mjs";
import { differences } from "./differences.mjs";

const root = new URL("../", import.meta.url);
const text = readFileSync(new URL("COMPATIBILITY.md", root), "utf8");

/** `{id, test}` of every row; "as above" is what the row above says. */
const rows = [];
for (const line of text.split("\n").filter((one) => one.startsWith("|")).slice(2)) {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim());
  const id = /^`([a-z0-9-]+)`$/.exec(cells[0])?.[1];
  assert.ok(id && cells.length === 5 && cells.every(Boolean), `not a row: ${line}`);
  rows.push({ id, test: cells[4] === "as above" ? rows.at(-1)?.test : cells[4] });
}

test("every row says what both do, and has a reason and a test that is there", () => {
  assert.ok(rows.length > 40, `only ${rows.length} rows were found`);
  assert.equal(new Set(rows.map((row) => row.id)).size, rows.length, "an id is there twice");
  for (const { id, test } of rows) {
    const named = [...(test ?? "").matchAll(/`((?:crates|conformance|xtask)\/[^`]+)`/g)].map((found) => found[1]);
    const folders = [...(test ?? "").matchAll(/`((?:crates|conformance|xtask)\/[\w/.-]+)`/g)].map((found) => found[1]);
    assert.ok(named.length > 0 && named.length === folders.length, `${id} names no test: ${test}`);
    for (const file of folders) assert.ok(existsSync(new URL(file, root)), `${id}: there is no ${file}`);
    // `name` in `file`: the file has a test of that name.
    const [, name, file] = /`(\w+)` in `([^`]+)`/.exec(test) ?? [];
    if (name) assert.ok(readFileSync(new URL(file, root), "utf8").includes(`fn ${name}(`), `${id}: no test ${name} in ${file}`);
  }
});

/** The files of tests that show this difference at both servers. */
const shown = (id) => {
  const single = [...deviations, ...everywhere].filter((row) => row.id === id);
  const files = single.map((row) => row.seenIn ?? "differential.test.mjs");
  if (differences.some((row) => row.id === id)) files.push("differences.test.mjs");
  return new Set(files);
};

test("every difference that is shown is a row", () => {
  for (const { id } of [...deviations, ...everywhere, ...differences]) {
    assert.ok(rows.some((row) => row.id === id), `${id} is not in COMPATIBILITY.md`);
  }
  for (const row of deviations) assert.ok(row.case && row.reason && row.differs.length > 0, `${row.id} is incomplete`);
});

test("every row is shown at both servers, and says where", () => {
  for (const { id, test } of rows) {
    const files = shown(id);
    assert.ok(files.size > 0, `${id}: nothing in deviations.mjs or differences/ shows it`);
    for (const file of files) assert.ok(test.includes(`conformance/${file}`), `${id} is shown in ${file}, and does not say so`);
    for (const file of ["differential.test.mjs", "differences.test.mjs", "generated.test.mjs", "databases.test.mjs"]) {
      if (test.includes(`conformance/${file}`)) assert.ok(files.has(file), `${id} is not shown in ${file}`);
    }
  }
});

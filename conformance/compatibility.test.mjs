// COMPATIBILITY.md and the tests agree: what is listed is tested, and what is tested as a difference is listed.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { deviations, everywhere } from "./deviations.mjs";

const root = new URL("../", import.meta.url);
const text = readFileSync(new URL("COMPATIBILITY.md", root), "utf8");

/** `{id, test}` of every row; "as above" is what the row above says. */
const rows = [];
for (const line of text.split("\n")) {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim());
  const id = /^`([a-z0-9-]+)`$/.exec(cells[0])?.[1];
  if (id) rows.push({ id, reason: cells[3], test: cells[4] === "as above" ? rows.at(-1)?.test : cells[4] });
}

test("every row has a reason and a test that is there", () => {
  assert.ok(rows.length > 40, `only ${rows.length} rows were found`);
  assert.equal(new Set(rows.map((row) => row.id)).size, rows.length, "an id is there twice");
  for (const { id, reason, test } of rows) {
    assert.ok(reason, `${id} has no reason`);
    const named = [...(test ?? "").matchAll(/`((?:crates|conformance|xtask)\/[^`]+)`/g)].map((found) => found[1]);
    const folders = [...(test ?? "").matchAll(/`((?:crates|conformance|xtask)\/[\w/.-]+)`/g)].map((found) => found[1]);
    assert.ok(named.length > 0 && named.length === folders.length, `${id} names no test: ${test}`);
    for (const file of folders) assert.ok(existsSync(new URL(file, root)), `${id}: there is no ${file}`);
    // `name` in `file`: the file has a test of that name.
    const [, name, file] = /^`(\w+)` in `([^`]+)`$/.exec(test) ?? [];
    if (name) assert.ok(readFileSync(new URL(file, root), "utf8").includes(`fn ${name}(`), `${id}: no test ${name} in ${file}`);
  }
});

test("every difference in an answer is a row, and every row that is tested by differences has one", () => {
  const used = new Set([...deviations, ...everywhere].map((row) => row.id));
  for (const id of used) assert.ok(rows.some((row) => row.id === id), `${id} is not in COMPATIBILITY.md`);
  for (const row of deviations) assert.ok(row.case && row.reason && row.differs.length > 0, `${row.id} is incomplete`);
  for (const { id, test } of rows) {
    if (test.includes("conformance/differential.test.mjs")) assert.ok(used.has(id), `${id}: nothing in deviations.mjs differs`);
  }
});

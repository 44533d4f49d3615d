// The same requests to better-auth and to Portcullis, fresh databases, and no difference but chance and
// time: status, headers, body, Set-Cookie names, values and attributes in their order, what the operator's
// functions were called with, and every row of every table.
//
// The cases are in `cases/`, stories of several people in `scenarios/`. Both count for docs/conformance.md.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { coverage, endpointOf } from "./coverage.mjs";
import { deviations, everywhere, known, ruleFor, unplayed } from "./deviations.mjs";
import { play, scenarios as all, startPair } from "./play.mjs";
import { selfCheck, temporaryFolder } from "./target.mjs";
import functions from "./cases/functions.mjs";
import mail from "./cases/mail.mjs";
import rooms from "./cases/rooms.mjs";
import settings from "./cases/settings.mjs";

/** `ONLY=forgotten` plays the groups whose names have this in them. */
const wanted = process.env.ONLY ?? "";
const groups = [...rooms, ...mail, ...settings, ...functions].filter(({ group }) => group.includes(wanted));
const cases = groups.flatMap((group) => group.cases);

const scenarios = (await all()).filter(({ title }) => title.includes(wanted));

/** The rules in `everywhere`, and the bugs in `known`, that differences were seen of. */
const seen = new Set();
/** The codes of errors that better-auth answered. */
const codes = new Set();
/** For docs/conformance.md: `{routes, scenario, equal}` of everything that was played. */
const played = [];
let number = 0;

/** What every answer, or every password, differs in. */
const EVERYWHERE = ["security-headers", "hash-argon2id"];

/** What is left of these differences when those are taken out that occur in many places. */
function judged(name, found) {
  if (selfCheck) return { left: found, bugs: [], listed: [] };
  const [bugs, listed] = [[], []];
  const left = found.filter((one) => {
    const rule = ruleFor(name, one);
    if (rule) seen.add(rule);
    if (rule?.bug) bugs.push(rule.bug);
    if (rule && !EVERYWHERE.includes(rule.id)) listed.push(rule.id);
    return !rule;
  });
  return { left, bugs, listed };
}

function note(steps) {
  for (const { answer } of steps) for (const [, code] of `${answer?.text} ${answer?.headers?.location}`.matchAll(/(?:"code":"|error=)(\w+)/g)) codes.add(code);
}

/** Fails unless the differences are exactly those that are listed for this case. */
function compareWithList(name, found, { routes, scenario }) {
  const entry = { routes: new Set(routes), scenario, equal: false };
  played.push(entry);
  const { left, bugs, listed } = judged(name, found);
  const rows = selfCheck ? [] : deviations.filter((row) => row.case === name);
  entry.equal = left.length === 0 && bugs.length === 0 && listed.length === 0;
  if (rows.length === 0) return assert.deepEqual(left, [], JSON.stringify(left, null, 1));
  assert.deepEqual(
    left.map((difference) => difference.path).sort(),
    rows.flatMap((row) => row.differs).sort(),
    `the deviation ${rows.map((row) => row.id)} is not what is listed: mend deviations.mjs and COMPATIBILITY.md\n${JSON.stringify(left, null, 1)}`,
  );
}

// Much of the time is spent waiting, for half a second that hides whether there is somebody to mail; and each
// group has servers and databases of its own.
describe("the same as better-auth", { concurrency: 4 }, () => {
  for (const { group, config, answer, unordered, cases } of groups) {
    describe(group, { concurrency: 1 }, () => {
      const cleanUp = [];
      const context = { after: (f) => cleanUp.unshift(f) };
      let pair;

      before(async () => {
        pair = await startPair(context, await temporaryFolder(context), group, { config, answer });
      });
      after(async () => {
        for (const f of cleanUp) await f();
      });

      for (const one of cases) {
        test(one.name, async () => {
          const { found, steps } = await play(pair, (number += 1), one.play, { plain: true, unordered });
          const { answer: last } = steps.at(-1);
          note(steps);
          if (one.status) assert.equal(last.status, one.status, `better-auth itself: ${last.text}`);
          compareWithList(one.name, found, { routes: [one.route], scenario: false });
        });
      }
    });
  }
});

describe("scenarios", { concurrency: 3 }, () => {
  for (const { title, settings, answer, play: story } of scenarios) {
    test(title, async (t) => {
      const pair = await startPair(t, await temporaryFolder(t), "scenario", { config: settings, answer });
      const { found, steps } = await play(pair, (number += 1), story);
      note(steps);
      const routes = steps.filter((step) => step.method).map((step) => endpointOf(step.method, step.route));
      compareWithList(title, found, { routes, scenario: true });
    });
  }
});

/** node:test skips at an empty text, too. */
const partly = selfCheck || wanted !== "" ? "only a part is played" : false;

test("every listed deviation is of a case, and is still seen", { skip: partly }, () => {
  const names = [...cases, ...scenarios.map((one) => ({ name: one.title }))].map((one) => one.name);
  assert.equal(new Set(names).size, names.length, "two cases have one name");
  for (const row of deviations) assert.ok(names.includes(row.case), `${row.id}: no case is called ${row.case}`);
  assert.equal(new Set(deviations.map((row) => row.case)).size, deviations.length, "a case is listed twice");
  for (const row of everywhere.filter((one) => !one.seenIn)) assert.ok(seen.has(row), `${row.id}: nothing differs at ${row.path ?? Object.keys(row.targets)} any more: mend deviations.mjs and COMPATIBILITY.md`);
});

test("every error of better-auth's that docs/errors.md lists is played", { skip: partly }, () => {
  const listed = [...readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8").matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);
  assert.ok(listed.length > 50, `only ${listed.length} codes were found`);
  const missing = listed.filter((code) => !codes.has(code) && !(code in unplayed));
  assert.deepEqual(missing, [], "add a case, or say in deviations.mjs why there is none");
  const needless = Object.keys(unplayed).filter((code) => codes.has(code) || !listed.includes(code));
  assert.deepEqual(needless, [], "is played, or is no code any more: take it out of `unplayed`");
});

for (const bug of selfCheck || wanted ? [] : known) {
  test(`known bug: ${bug.bug}`, () => {
    assert.fail(seen.has(bug) ? `known bug: ${bug.bug}` : `no longer seen, so take it from \`known\`: ${bug.bug}`);
  });
}

test("docs/conformance.md says what was played", { skip: partly }, async () => {
  const table = await coverage(played);
  console.log(table.summary);
  const file = new URL("../docs/conformance.md", import.meta.url);
  if (process.env.COVERAGE === "write") writeFileSync(file, table.page);
  assert.equal(readFileSync(file, "utf8"), table.page, "docs/conformance.md is stale: npm run coverage");
});

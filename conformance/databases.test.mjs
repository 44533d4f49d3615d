// The stories of scenarios/ on PostgreSQL, on MariaDB and with Redis, with all rows compared; differential.test.mjs
// plays them, and everything else, on SQLite alone.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startDatabase } from "./databases.mjs";
import { deviations, everywhere, ruleFor } from "./deviations.mjs";
import { play, scenarios, startPair } from "./play.mjs";
import { inFolder, onServer, withRedis } from "./tables.mjs";
import { selfCheck, temporaryFolder } from "./target.mjs";

const seen = new Set();
const wanted = process.env.ONLY ?? "";
const stories = (await scenarios()).filter(({ title }) => title.includes(wanted));

for (const kind of ["postgres", "mariadb", "redis"]) {
  describe(kind, { concurrency: 3 }, () => {
    let server;
    const cleanUp = [];
    before(async () => {
      server = await startDatabase({ after: (f) => cleanUp.push(f), skip: () => {} }, kind);
    });
    after(async () => {
      for (const f of cleanUp) await f();
    });

    for (const [index, { title, settings, answer, play: story }] of stories.entries()) {
      test(title, async (t) => {
        if (!server) return t.skip("no server");
        const folder = await temporaryFolder(t);
        const database = kind === "redis" ? withRedis(server, inFolder(folder)) : onServer(server);
        const pair = await startPair(t, folder, `scenario ${index}`, { config: settings, answer, database });
        const { found } = await play(pair, index, story);
        const listed = deviations.filter((row) => row.case === title).flatMap((row) => row.differs);
        const excused = (one) => {
          const rule = ruleFor(title, one);
          seen.add(rule);
          return rule || listed.includes(one.path);
        };
        const left = selfCheck ? found : found.filter((one) => !excused(one));
        assert.deepEqual(left, [], JSON.stringify(left, null, 1));
      });
    }
  });
}

test("every deviation that is listed for these stories is still seen", { skip: selfCheck || wanted !== "" ? "only a part is played" : false }, () => {
  for (const row of everywhere.filter((one) => one.seenIn === "databases.test.mjs")) assert.ok(seen.has(row), `${row.id}: mend deviations.mjs and COMPATIBILITY.md`);
});

// The rows of COMPATIBILITY.md that no case shows: both servers are asked the same, better-auth is
// as the row says it is, and Portcullis is as the row says. Who takes a difference away has to take its row, too.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startDatabase } from "./databases.mjs";
import { differences } from "./differences.mjs";
import { startStage } from "./play.mjs";
import { inFolder, onServer } from "./tables.mjs";
import { selfCheck, temporaryFolder } from "./target.mjs";

const KEYS = ["id", "what", "on", "config", "answer", "play", "alone", "peer", "portcullis"];

/** What one server does. */
async function seen(t, kind, { id, config, answer, play, alone }, database) {
  const folder = await temporaryFolder(t);
  if (alone) return alone({ t, kind, folder, database });
  const stage = await startStage(t, kind, id, { config, answer, database: database ? onServer(database) : inFolder(folder) });
  stage.begin(1, Date.now());
  return play(stage);
}

describe("as COMPATIBILITY.md says", { concurrency: 4 }, () => {
  for (const row of differences) {
    test(`${row.id}: ${row.what}`, async (t) => {
      assert.notDeepEqual(row.portcullis, row.peer, "no difference");
      for (const key of Object.keys(row)) assert.ok(KEYS.includes(key), `${key} is nothing that is looked at`);
      const database = row.on && (await startDatabase(t, row.on));
      if (row.on && !database) return;
      const [peer, portcullis] = await Promise.all(["peer", "portcullis"].map((kind) => seen(t, kind, row, database)));
      assert.deepEqual(peer, row.peer, "better-auth is not as the row says");
      assert.deepEqual(portcullis, selfCheck ? row.peer : row.portcullis, "Portcullis is not as the row says");
    });
  }
});

// The differences that no case shows: rows of COMPATIBILITY.md, and what both servers do.
//
// A file of `differences/` is a list of `{id, what, on?, config?, answer?, play, peer, portcullis}`: `config`, `answer`
// and the stage that `play` is given are those of a scenario (play.mjs), and what `play` answers has to be `peer` of the
// one and `portcullis` of the other. `on` is a database of databases.mjs, one for both. In place of `play`, `alone` starts
// what it needs by itself: it is given `{t, kind, folder, database}`.
import { readdirSync } from "node:fs";

const files = readdirSync(new URL("differences", import.meta.url)).filter((file) => file.endsWith(".mjs")).sort();
export const differences = (await Promise.all(files.map(async (file) => (await import(`./differences/${file}`)).default))).flat();

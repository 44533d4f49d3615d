// One story, played to better-auth and to Portcullis. A stage is one server with its database and its
// operator; people on it have browsers; what they ask and are answered is the transcript. The two transcripts,
// what the operators' functions were called with and all rows of all tables have to be the same.
//
// Time stands still while a request is served: both servers are told the same moment (`x-test-now`), and each
// request is one second after the one before.
import { readdirSync } from "node:fs";
import { createAuthClient } from "better-auth/client";
import { anonymousClient, jwtClient, multiSessionClient, twoFactorClient, usernameClient } from "better-auth/client/plugins";
import { Comparison } from "./compare.mjs";
import { changes, inFolder, ourRows } from "./tables.mjs";
import { Browser, configuration, ORIGIN, raw, startLight, startWebhook } from "./target.mjs";

const HOST = new URL(ORIGIN).host;

/** A browser whose requests are on the record. */
class Actor extends Browser {
  constructor(stage, name) {
    super();
    this.stage = stage;
    this.name = name;
  }

  /** One request under `basePath`. `off: true` keeps it off the record. */
  async call(method, route, { query, body, text, headers, sortBy, off = false } = {}) {
    const { stage } = this;
    const search = query ? `?${new URLSearchParams(query)}` : "";
    const payload = text ?? (body === undefined || typeof body === "string" ? body : JSON.stringify(body));
    const cookie = this.jar.header();
    const answer = await stage.send({
      method,
      path: `${stage.basePath}${route}${search}`,
      headers: {
        host: HOST,
        origin: ORIGIN,
        ...(cookie && { cookie }),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      body: payload,
    });
    this.jar.take(answer.setCookies);
    if (!off) stage.record({ who: this.name, method, route, answer: sorted(answer, sortBy) });
    return answer;
  }

  get(route, query, options) {
    return this.call("GET", route, { query, ...options });
  }

  post(route, body = {}, options) {
    return this.call("POST", route, { body, ...options });
  }

  /** Follows a mailed link, as a mail program does: no Origin. */
  open(link) {
    const { pathname, search } = new URL(link);
    const route = `${pathname.slice(this.stage.basePath.length)}${search}`;
    return this.call("GET", route, { headers: { origin: undefined } });
  }

  /** A page that was left open: the same cookies, and what happens to them here is unknown there. */
  copy(name = `${this.name}'s copy`) {
    const other = new Actor(this.stage, name);
    other.jar = this.jar.copy();
    return other;
  }

  /** `fetch` for the client library. */
  fetch = async (input, init = {}) => {
    const request = new Request(input, init);
    const { pathname, search } = new URL(request.url);
    const body = request.body ? await request.text() : undefined;
    const answer = await this.call(request.method, `${pathname.slice(this.stage.basePath.length)}${search}`, {
      text: body,
      headers: Object.fromEntries(request.headers),
    });
    const headers = Object.entries(answer.headers).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
    const empty = [204, 304].includes(answer.status) || answer.text === "";
    return new Response(empty ? null : answer.text, { status: answer.status, headers });
  };

  /** better-auth's own client in this browser. */
  get client() {
    return (this.library ??= createAuthClient({
      baseURL: this.stage.server.url,
      disableDefaultFetchPlugins: true,
      fetchOptions: { customFetchImpl: this.fetch },
      plugins: [anonymousClient(), usernameClient(), twoFactorClient(), multiSessionClient(), jwtClient()],
    }));
  }
}

/** The answer with its list in an order of ours, where the order is chance. */
function sorted(answer, key) {
  if (!key || answer.status !== 200) return answer;
  const json = [...answer.json].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  return { ...answer, text: JSON.stringify(json), json };
}

/** One server, its operator and its database. */
class Stage {
  constructor(server, hook, database) {
    Object.assign(this, { server, hook, database });
    this.basePath = server.config.basePath ?? "/api/auth";
    this.keys([]);
    /** What cases keep here for later ones. */
    this.shared = {};
  }

  /** What opens the answers of this server: its secrets (docs/configuration.md), and its published keys. */
  keys(published) {
    const { secret, secrets = [] } = this.server.config;
    const sealing = Object.fromEntries(secrets.map(({ version, value }) => [version, value]));
    this.side = { secret: secrets[0]?.value ?? secret, sealing: { ...sealing, none: secret }, jwks: { keys: published } };
  }

  /** Ends the server and starts it anew with other settings, at the same database. */
  async restart(over) {
    await this.server.stop();
    this.server = await startLight(this.server.kind, { ...this.server.config, ...over });
    this.keys(this.side.jwks.keys);
  }

  /** A case begins: its number, and the time on both sides. */
  begin(number, now) {
    Object.assign(this, { number, began: now, now, steps: [], browsers: 0 });
    this.hook.calls.length = 0;
  }

  browser(name = `browser ${(this.browsers += 1)}`) {
    return new Actor(this, name);
  }

  /** Time goes by. */
  later(seconds) {
    this.now += seconds * 1000;
  }

  /** Sends one request a second after the last one. */
  async send(request) {
    const at = (this.now += this.still ? 0 : 1000);
    const headers = { ...request.headers, "x-test-now": `${at}` };
    const answer = await raw(this.server.url, { ...request, headers });
    return Object.defineProperties({}, { ...Object.getOwnPropertyDescriptors(answer), at: { value: at, enumerable: true } });
  }

  record(step) {
    // Calls of functions are part of the step in which they came.
    const told = this.hook.calls.slice(this.told()).map(({ callback, args }) => ({ callback, args }));
    this.steps.push({ ...step, told, side: this.side });
  }

  told() {
    return this.steps.reduce((sum, step) => sum + step.told.length, 0);
  }

  /** Puts a value of the story's own on the record. */
  note(name, value) {
    this.record({ who: name, note: value });
  }

  /**
   * Several requests at the very same moment, each made with `off: true`. Who comes first is chance, so only what
   * `of` makes of the answers is on the record.
   */
  async together(name, requests, of) {
    this.now += 1000;
    this.still = true;
    const answers = await Promise.all(requests.map((request) => request()));
    this.still = false;
    this.note(name, of(answers));
  }

  /** What the operator's function of this name was last given, in this story. */
  mail(callback) {
    const calls = this.hook.calls.filter((call) => call.callback.endsWith(callback));
    if (calls.length === 0) throw new Error(`${this.server.kind}: ${callback} was not called`);
    return calls.at(-1).args[0];
  }
}

/** Every file in `scenarios/`. */
export async function scenarios() {
  const files = readdirSync(new URL("scenarios", import.meta.url)).sort();
  return Promise.all(files.map(async (file) => (await import(`./scenarios/${file}`)).default));
}

/**
 * One server with a configuration, which is laid over the usual one and is given the URL of the operator's
 * functions. `database` makes a database of a name (tables.mjs).
 */
export async function startStage(t, kind, name, { config = () => ({}), answer, database }) {
  const hook = await startWebhook(t, answer);
  const own = await database(`${kind}_${name}`.replaceAll(/\W+/g, "_"));
  const server = await startLight(kind, configuration(own.url, { ...config({ webhook: hook.url }), ...own.settings }));
  const stage = new Stage(server, hook, own);
  t.after(() => stage.server.stop());
  const jwks = await raw(server.url, { method: "GET", path: `${stage.basePath}/jwks` });
  if (jwks.status === 200) stage.keys(jwks.json.keys);
  stage.tables = await own.read();
  return stage;
}

/** Both servers with one configuration. */
export const startPair = (t, folder, name, { database = inFolder(folder), ...settings } = {}) =>
  Promise.all(["peer", "portcullis"].map((kind) => startStage(t, kind, name, { ...settings, database })));

const titled = (step, index) => `${index + 1}. ${step.who}: ${step.method ? `${step.method} ${step.route}` : "note"}: `;

/**
 * Plays one story to both and gives back how they differ: `[{path, peer, target}]`, and the transcript of the
 * real better-auth. `plain` leaves the last step's name out of the paths, for cases that are about one answer;
 * `unordered` lets functions be called in any order within a step.
 */
export async function play([left, right], number, story, { plain = false, unordered = false } = {}) {
  const now = Date.now();
  await Promise.all(
    [left, right].map(async (stage) => {
      stage.begin(number, now);
      await story(stage);
    }),
  );
  const comparison = new Comparison(left.side, right.side);
  const names = (stage) => stage.steps.map((step, index) => titled(step, index).replaceAll(/[A-Za-z0-9_.-]{24,}/g, "…"));
  const [ours, theirs] = [names(right), names(left)];
  if (ours.join("\n") !== theirs.join("\n")) {
    return { found: [{ path: "the steps themselves", peer: theirs, target: ours }], steps: left.steps };
  }
  for (const [index, a] of left.steps.entries()) {
    const b = right.steps[index];
    const before = plain && index === left.steps.length - 1 ? "" : theirs[index];
    comparison.sides = [a.side, b.side];
    if (a.method) await comparison.differences(a.answer, b.answer, before);
    else await comparison.values(before, a.note, b.note, now);
    if (unordered) for (const step of [a, b]) step.told.sort((one, other) => (one.callback < other.callback ? -1 : 1));
    await comparison.values(`${before}told `, a.told.map((call) => call.callback), b.told.map((call) => call.callback), now);
    for (const [at, call] of a.told.entries()) {
      if (b.told[at]) await comparison.values(`${before}told ${call.callback}`, call.args, b.told[at].args, a.answer?.at ?? now);
    }
  }
  const rows = [left, right].map(async (stage) => {
    const before = stage.tables;
    stage.tables = await stage.database.read();
    return changes(before, stage.tables);
  });
  await comparison.values("rows", ...(await Promise.all(rows)), now);
  // Under the test contract a mail is on its way before the answer is: none may wait.
  if (ourRows(right.tables) > 0) comparison.differ("rows of Portcullis' own", 0, ourRows(right.tables));
  return { found: comparison.found, steps: left.steps };
}

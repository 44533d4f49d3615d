// Rows become cases: `{name, route, play, status?}`, where `play(stage)` ends with the request that the case is about.
import { actors } from "./actors.mjs";

/**
 * One request. `as` is who asks, `open` that no session is needed, `shared` that the case leaves the stage as it
 * was for the next such case; `browser: "new"` asks from a browser that knows nothing.
 */
export function asked({ as, route, path, body, text, query, headers, browser, shared, sortBy }) {
  return async (stage) => {
    const world = await (shared ? (stage.shared[as] ??= actors[as](stage)) : actors[as](stage));
    const [method, to] = route.split(" ");
    const given = (value) => (typeof value === "function" ? value(world) : value);
    const from = browser === "new" ? stage.browser() : world.browser;
    await from.call(method, given(path ?? to), {
      query: given(query), body: given(body), text: given(text), headers: given(headers), sortBy,
    });
  };
}

const JSON_TYPE = { "content-type": "application/json" };

/** The family of cases of each route: as it should be, and every bad form. */
export function families(endpoints) {
  const all = [];
  for (const { route, as, body, query, required = [], open = false, status = 200, sortBy } of endpoints) {
    const add = (what, over = {}) => {
      const one = { as, route, body, query, sortBy, ...over };
      all.push({ name: `${route}: ${what}`, route, status: one.status, play: asked(one) });
    };
    add("as it should be", { status });
    // What is refused before a handler sees it leaves the stage as it was, for the next such case.
    const early = { shared: true };
    const [method, to] = route.split(" ");
    add("the wrong method", { ...early, route: `${method === "GET" ? "POST" : "GET"} ${to}`, body: undefined });
    if (as !== "nobody" && !open) add("no session", { browser: "new" });
    else if (as === "member" || as === "shared") add("nobody", { browser: "new" });
    if (query) {
      for (const field of Object.keys(query({}))) {
        const { [field]: _, ...none } = query({});
        add(`without ${field} in the query`, { query: (world) => Object.fromEntries(Object.entries(query(world)).filter(([key]) => key !== field)) });
        add(`${field} twice in the query`, { query: (world) => [...Object.entries(query(world)), [field, "again"]] });
        add(`an empty ${field} in the query`, { query: (world) => ({ ...query(world), [field]: "" }) });
      }
    }
    if (!body) continue;
    for (const field of required) {
      add(`without ${field}`, {
        ...early,
        body: (world) => {
          const { [field]: _, ...rest } = body(world);
          return rest;
        },
      });
    }
    // What is sent per field is known once a body is made; the names are the same for everybody.
    const fields = Object.keys(body({ totpURI: "otpauth://totp/x?secret=AAAAAAAA" }));
    for (const field of fields) {
      add(`${field} of the wrong type`, { body: (world) => ({ ...body(world), [field]: { not: "it" } }) });
    }
    if (fields.length > 0) add("an extra field", { body: (world) => ({ ...body(world), surprise: 1 }) });
    add("malformed JSON", { ...early, body: undefined, text: '{"a":', headers: JSON_TYPE });
    add("the wrong content type", { ...early, body: undefined, text: (world) => JSON.stringify(body(world)), headers: { "content-type": "text/plain" } });
    if (required.length > 0) add("no body", { ...early, body: undefined });
    add("an origin elsewhere", { ...early, headers: { origin: "https://evil.example" } });
    add("no origin", { headers: { origin: undefined } });
  }
  return all;
}

/** Name, who asks, route, and what is special: body, query, headers, text, a lone browser. */
export const situations = (rows) =>
  rows.map(([what, as, route, over]) => ({ name: `${route}: ${what}`, route, play: asked({ as, route, ...over }) }));

/** Name, route that it is about, and the story. */
export const stories = (rows) => rows.map(([what, route, play]) => ({ name: `${route}: ${what}`, route, play }));

// What is refused before anybody looks at it closely: JSON, URLs, origins, lengths.
import http from "node:http";
import { ADA, said } from "../helpers.mjs";
import { configuration, startFor } from "../target.mjs";

const NO_CORS = {
  preflight: "404, allows undefined, varies by undefined",
  read: "200, allows undefined, varies by undefined",
  stranger: "200, allows undefined, varies by undefined",
};

/** Somebody who has signed up and in. */
async function ada(stage) {
  const browser = stage.browser();
  await browser.post("/sign-up/email", ADA);
  return browser;
}

/** Signs in and wants to go on to these pages. */
const callbacks = (...pages) => async (stage) => {
  await ada(stage);
  const all = {};
  for (const callbackURL of pages) all[callbackURL] = said(await stage.browser().post("/sign-in/email", { ...ADA, callbackURL }));
  return all;
};

/** A path as it stands: `fetch` and `URL` would write other characters for some of these. */
function getRaw(base, path) {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const request = http.get({ hostname, port, path, agent: false }, async (response) => {
      resolve({ status: response.statusCode, text: (await response.setEncoding("utf8").toArray()).join("") });
    });
    request.on("error", reject);
  });
}

export default [
  {
    id: "strict-json",
    what: "a byte order mark, half of a surrogate pair, and lists in lists",
    async play(stage) {
      const bodies = {
        mark: `\uFEFF${JSON.stringify(ADA)}`,
        half: JSON.stringify({ ...ADA, email: "byron@example.com" }).replace("Ada", "\\ud800"),
        deep: JSON.stringify({ ...ADA, email: "lovelace@example.com", more: 0 }).replace('"more":0', `"more":${"[".repeat(500)}${"]".repeat(500)}`),
      };
      const all = {};
      for (const [name, text] of Object.entries(bodies)) {
        all[name] = said(await stage.browser().call("POST", "/sign-up/email", { text, headers: { "content-type": "application/json" } }));
      }
      return all;
    },
    peer: { mark: "200", half: "200", deep: "200" },
    portcullis: { mark: "400 BAD_REQUEST", half: "400 BAD_REQUEST", deep: "400 BAD_REQUEST" },
  },
  {
    id: "body-limit",
    what: "a body of two million bytes",
    async play(stage) {
      const answer = await stage.browser().post("/sign-up/email", { ...ADA, more: "x".repeat(2_000_000) });
      return said(answer);
    },
    peer: "200",
    portcullis: "413 PAYLOAD_TOO_LARGE",
  },
  {
    id: "rate-limit-paths",
    what: "other spellings of a path whose tries are used up, and a path of 6000 letters",
    config: () => ({ rateLimit: { enabled: true, storage: "database" } }),
    async play(stage) {
      const browser = stage.browser();
      const right = "/sign-in/email";
      const tries = {};
      for (const path of [right, right, right, right, "//sign-in/email", "/%73ign-in/email"]) {
        tries[path] = (await browser.post(path, { email: ADA.email, password: "wrong" })).status;
      }
      await browser.get(`/${"x".repeat(6_000)}`);
      const rows = [...(await stage.database.read()).get("rateLimit").values()];
      const paths = rows.map(({ key }) => key.split("|").at(-1)).filter((path) => path !== "/jwks");
      return { tries, counted: paths.slice(0, -1), long: paths.at(-1).replace(/x{6000}/, "(6000 x)").replace(/[0-9a-f]{64}$/, "(a hash)") };
    },
    peer: {
      tries: { "/sign-in/email": 429, "//sign-in/email": 404, "/%73ign-in/email": 404 },
      counted: ["/sign-in/email", "//sign-in/email", "/%73ign-in/email"],
      long: "/(6000 x)",
    },
    portcullis: {
      tries: { "/sign-in/email": 429, "//sign-in/email": 429, "/%73ign-in/email": 429 },
      counted: ["/sign-in/email"],
      long: "sha256:(a hash)",
    },
  },
  {
    id: "cors",
    what: "a preflight, a read by a trusted origin and one by a stranger",
    async alone({ t, kind, folder }) {
      const seen = {};
      for (const [name, over, env] of [
        ["usually", {}, {}],
        ["switched off", { http: { cors: false } }, {}],
        ["under the test contract", {}, { TEST_CLOCK: "1" }],
      ]) {
        const trustedOrigins = ["https://app.example.com"];
        const server = await startFor(t, kind, configuration(`sqlite:${folder}/cors.db`, { trustedOrigins, ...over }), { env });
        const ask = async (method, path, headers) => {
          const { status, headers: answered } = await server.browser().call(method, path, { headers });
          return `${status}, allows ${answered["access-control-allow-origin"]}, varies by ${answered.vary}`;
        };
        const origin = "https://app.example.com";
        seen[name] = {
          preflight: await ask("OPTIONS", "/sign-in/email", { origin, "access-control-request-method": "POST" }),
          read: await ask("GET", "/get-session", { origin }),
          stranger: await ask("GET", "/get-session", { origin: "https://elsewhere.example" }),
        };
      }
      return seen;
    },
    peer: { usually: NO_CORS, "switched off": NO_CORS, "under the test contract": NO_CORS },
    portcullis: {
      usually: {
        preflight: "204, allows https://app.example.com, varies by Origin",
        read: "200, allows https://app.example.com, varies by Origin",
        stranger: "200, allows undefined, varies by Origin",
      },
      "switched off": NO_CORS,
      "under the test contract": NO_CORS,
    },
  },
  {
    id: "script-urls",
    what: "a pattern without a scheme",
    config: () => ({ trustedOrigins: ["*.example.com"] }),
    play: callbacks("https://a.example.com/", "javascript://a.example.com/%0aalert(1)", "someapp://a.example.com/"),
    peer: {
      "https://a.example.com/": "200",
      "javascript://a.example.com/%0aalert(1)": "200",
      "someapp://a.example.com/": "200",
    },
    portcullis: {
      "https://a.example.com/": "200",
      "javascript://a.example.com/%0aalert(1)": "403 INVALID_CALLBACK_URL",
      "someapp://a.example.com/": "403 INVALID_CALLBACK_URL",
    },
  },
  {
    id: "script-urls",
    what: "patterns that name such a scheme, or any",
    config: () => ({ trustedOrigins: ["javascript://", "*://pages.example"] }),
    play: callbacks("someapp://pages.example", "javascript:alert(1)", "data://pages.example", "vbscript://pages.example"),
    peer: {
      "someapp://pages.example": "200",
      "javascript:alert(1)": "200",
      "data://pages.example": "200",
      "vbscript://pages.example": "200",
    },
    portcullis: {
      "someapp://pages.example": "200",
      "javascript:alert(1)": "403 INVALID_CALLBACK_URL",
      "data://pages.example": "403 INVALID_CALLBACK_URL",
      "vbscript://pages.example": "403 INVALID_CALLBACK_URL",
    },
  },
  {
    id: "two-origins",
    what: "a trusted `Origin` and `null` beside it: `*` stands for all of the rest",
    config: () => ({ trustedOrigins: ["http://localhost:*"] }),
    async play(stage) {
      const browser = await ada(stage);
      const from = async (...origin) => said(await browser.post("/update-user", { name: "Mallory" }, { headers: { origin } }));
      return { trusted: await from("http://localhost:5173"), null: await from("null"), both: await from("http://localhost:5173", "null") };
    },
    peer: { trusted: "200", null: "403 MISSING_OR_NULL_ORIGIN", both: "200" },
    portcullis: { trusted: "200", null: "403 MISSING_OR_NULL_ORIGIN", both: "403 INVALID_ORIGIN" },
  },
  {
    id: "no-nul",
    what: "U+0000 in a body, a query and a path, with SQLite",
    async play(stage) {
      const browser = stage.browser();
      return {
        body: said(await browser.post("/sign-up/email", { ...ADA, name: "A\0da" })),
        query: said(await browser.get("/verify-email", { token: "\0" })),
        path: said(await browser.get("/reset-password/a%00b", { callbackURL: "/page" })),
        stored: [...(await stage.database.read()).get("user").values()].map(({ name }) => name),
      };
    },
    peer: { body: "200", query: "401 INVALID_TOKEN", path: "302", stored: ["A\0da"] },
    portcullis: { body: "400 BAD_REQUEST", query: "400 BAD_REQUEST", path: "400 BAD_REQUEST", stored: [] },
  },
  {
    id: "no-nul",
    what: "U+0000 in bodies, with PostgreSQL",
    on: "postgres",
    async play(stage) {
      const signUp = said(await stage.browser().post("/sign-up/email", { ...ADA, name: "A\0da" }));
      const browser = await ada(stage);
      return { signUp, update: said(await browser.post("/update-user", { name: "A\0da" })) };
    },
    peer: { signUp: "422 FAILED_TO_CREATE_USER", update: "500" },
    portcullis: { signUp: "400 BAD_REQUEST", update: "400 BAD_REQUEST" },
  },
  {
    id: "no-room",
    what: "a name that is longer than its column, with an address that is free and one that is taken",
    on: "mariadb",
    async play(stage) {
      const name = "A".repeat(256);
      const free = said(await stage.browser().post("/sign-up/email", { ...ADA, name }));
      const browser = await ada(stage);
      const taken = said(await stage.browser().post("/sign-up/email", { ...ADA, name }));
      return { free, taken, update: said(await browser.post("/update-user", { name })) };
    },
    peer: { free: "422 FAILED_TO_CREATE_USER", taken: "422 USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", update: "500" },
    portcullis: { free: "400 VALIDATION_ERROR", taken: "400 VALIDATION_ERROR", update: "400 VALIDATION_ERROR" },
  },
  {
    id: "safe-pages",
    what: "a page for errors whose path turns into another host",
    async play(stage) {
      const answer = await stage.browser().get("/verify-email", { token: "none", callbackURL: "/.//elsewhere.example" });
      return { said: said(answer), goes: answer.headers.location };
    },
    peer: { said: "302", goes: "//elsewhere.example?error=INVALID_TOKEN" },
    portcullis: { said: "403 INVALID_CALLBACK_URL", goes: undefined },
  },
  {
    id: "origin-patterns",
    what: "entries with a path, a slash or capitals, and patterns of addresses and of ports",
    config: () => ({
      trustedOrigins: [
        "https://path.example.com/app",
        "https://slash.example.com/",
        "https://Capitals.Example.com",
        "192.168.*.*",
        "http://localhost:*",
      ],
    }),
    async play(stage) {
      const browser = await ada(stage);
      const all = {};
      for (const origin of [
        "https://path.example.com",
        "https://slash.example.com",
        "https://capitals.example.com",
        "http://192.168.1.7",
        "http://192.168.elsewhere.example",
        "http://localhost:5173",
        "http://localhost:3000.example.com",
      ]) {
        all[origin] = said(await browser.post("/revoke-other-sessions", {}, { headers: { origin } }));
      }
      return all;
    },
    peer: {
      "https://path.example.com": "403 INVALID_ORIGIN",
      "https://slash.example.com": "403 INVALID_ORIGIN",
      "https://capitals.example.com": "403 INVALID_ORIGIN",
      "http://192.168.1.7": "200",
      "http://192.168.elsewhere.example": "200",
      "http://localhost:5173": "200",
      "http://localhost:3000.example.com": "200",
    },
    portcullis: {
      "https://path.example.com": "200",
      "https://slash.example.com": "200",
      "https://capitals.example.com": "200",
      "http://192.168.1.7": "200",
      "http://192.168.elsewhere.example": "403 INVALID_ORIGIN",
      "http://localhost:5173": "200",
      "http://localhost:3000.example.com": "403 INVALID_ORIGIN",
    },
  },
  {
    id: "strict-url",
    what: "raw characters in the request line",
    async play(stage) {
      const all = {};
      for (const path of ["/ok?<", "/ok?>", '/ok?"', "/ok?`", "/reset-password/<?callbackURL=/page", "/reset-password/`?callbackURL=/page"]) {
        all[path] = said(await getRaw(stage.server.url, `${stage.basePath}${path}`));
      }
      // Two bytes, as UTF-8 has them.
      all["/ok?ä"] = said(await getRaw(stage.server.url, `${stage.basePath}/ok?${Buffer.from("ä").toString("latin1")}`));
      return all;
    },
    peer: {
      "/ok?<": "200",
      "/ok?>": "200",
      '/ok?"': "200",
      "/ok?`": "200",
      "/reset-password/<?callbackURL=/page": "302",
      "/reset-password/`?callbackURL=/page": "302",
      "/ok?ä": "400",
    },
    portcullis: {
      "/ok?<": "400",
      "/ok?>": "400",
      '/ok?"': "400",
      "/ok?`": "200",
      "/reset-password/<?callbackURL=/page": "400",
      "/reset-password/`?callbackURL=/page": "400",
      "/ok?ä": "200",
    },
  },
];

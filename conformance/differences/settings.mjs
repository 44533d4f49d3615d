// What a configuration may say, and what there is without one. All but a few of these run outside of the test
// contract, which is lenient on purpose.
import { existsSync } from "node:fs";
import path from "node:path";
import Database from "better-sqlite3";
import { ADA, said } from "../helpers.mjs";
import { configuration, start, startWebhook } from "../target.mjs";

const STRONG = "Zk3vQ8xN1pT6yB0sW5mR2hJ7dF4gL9aC";

const WEAK =
  "refuses: secret: is a default or too weak (it needs 32 random characters) for production or an https baseURL; make one with `portcullis secret` and put it there, or into BETTER_AUTH_SECRET";

/** Starts a server and asks it something; or why it does not start. */
async function asked(kind, config, ask, options = { env: {} }) {
  let server;
  try {
    server = await start(kind, config, options);
  } catch (error) {
    // The last words of Portcullis, or the error in a trace of Node's.
    const [, why] = /\n(?:portcullis: (?:\S+\.json: )?|.*BetterAuthError: )(.+?)]?$/m.exec(error.message) ?? [];
    if (!why) throw error;
    return `refuses: ${why}`;
  }
  try {
    return await ask(server.browser(), server);
  } finally {
    await server.stop();
  }
}

const signUp = async (browser) => said(await browser.call("POST", "/sign-up/email", { body: ADA }));

/** A configuration beside a database of its own. */
const laidOver = (folder, over) => configuration(`sqlite:${path.join(folder, "settings.db")}`, over);

export default [
  {
    id: "unknown-settings",
    what: "a misspelt option that was to close the door",
    alone: ({ kind, folder }) => asked(kind, laidOver(folder, { emailAndPassword: { enabled: true, disableSignup: true } }), signUp),
    peer: "200",
    portcullis: "refuses: emailAndPassword.disableSignup: unknown option; did you mean `disableSignUp`?",
  },
  {
    id: "missing-features",
    what: "an option that is not there yet",
    alone: ({ kind, folder }) =>
      asked(kind, laidOver(folder, { socialProviders: { github: { clientId: "ada", clientSecret: "engine" } } }), async (browser) =>
        said(await browser.call("POST", "/sign-in/social", { body: { provider: "github" } })),
      ),
    peer: "200",
    portcullis: "refuses: socialProviders: is an option of Better Auth that this version of Portcullis does not have yet; remove it to start without",
  },
  {
    id: "missing-features",
    what: "a plugin that is not there yet",
    alone: ({ kind, folder }) =>
      asked(kind, laidOver(folder, { plugins: { admin: {} } }), async (browser) => said(await browser.call("GET", "/admin/list-users"))),
    peer: "401",
    portcullis: "refuses: plugins.admin: is a plugin of Better Auth that this build of Portcullis does not have",
  },
  {
    id: "default-database",
    what: "users who come back after a restart, without `database` and with `database: false`",
    async alone({ kind, folder }) {
      const seen = {};
      for (const [name, database] of [["false", false], ["without", undefined]]) {
        const config = { ...laidOver(folder), database };
        const options = { env: {}, within: folder };
        const signIn = async (browser) => said(await browser.call("POST", "/sign-in/email", { body: ADA }));
        const first = await asked(kind, config, signUp, options);
        const again = await asked(kind, config, signIn, options);
        seen[name] = { first, again, file: existsSync(path.join(folder, "portcullis.db")) };
      }
      return seen;
    },
    peer: {
      without: { first: "200", again: "401 INVALID_EMAIL_OR_PASSWORD", file: false },
      false: { first: "200", again: "401 INVALID_EMAIL_OR_PASSWORD", file: false },
    },
    portcullis: {
      without: { first: "200", again: "200", file: true },
      false: { first: "200", again: "401 INVALID_EMAIL_OR_PASSWORD", file: false },
    },
  },
  {
    id: "default-features",
    what: "the first command",
    alone: ({ kind, folder }) =>
      asked(
        kind,
        undefined,
        async (browser) => {
          const answer = await browser.call("POST", "/sign-up/email", { body: ADA, headers: { origin: undefined } });
          return { signUp: said(answer), bearer: "set-auth-token" in answer.headers, jwks: (await browser.call("GET", "/jwks")).status };
        },
        { env: {}, within: folder },
      ),
    peer: { signUp: "400 EMAIL_PASSWORD_SIGN_UP_DISABLED", bearer: false, jwks: 404 },
    portcullis: { signUp: "200", bearer: true, jwks: 200 },
  },
  {
    id: "weak-secret",
    what: "secrets in production, and behind https",
    async alone({ kind, folder }) {
      const seen = {};
      for (const [name, baseURL, secret, env] of [
        ["the default one", "http://localhost:3000", "better-auth-secret-12345678901234567890", { NODE_ENV: "production" }],
        ["a short one", "http://localhost:3000", "engine", { NODE_ENV: "production" }],
        ["a well-known one", "http://localhost:3000", "better-auth-secret-123456789", { NODE_ENV: "production" }],
        ["a short one behind https", "https://auth.example.com", "engine", {}],
        ["a short one in development", "http://localhost:3000", "engine", {}],
        ["a good one", "http://localhost:3000", STRONG, { NODE_ENV: "production" }],
      ]) {
        const warned = async (_, server) => (/BETTER_AUTH_SECRET (?:should|appears)/.test(server.stderr()) ? "starts, and warns" : "starts");
        seen[name] = await asked(kind, laidOver(folder, { baseURL, secret }), warned, { env: { ...env, PEER_LOG: "warn" } });
      }
      return seen;
    },
    peer: {
      "the default one": "refuses: You are using the default secret. Please set `BETTER_AUTH_SECRET` in your environment variables or pass `secret` in your auth config.",
      "a short one": "starts, and warns",
      "a well-known one": "starts, and warns",
      "a short one behind https": "starts, and warns",
      "a short one in development": "starts, and warns",
      "a good one": "starts",
    },
    portcullis: {
      "the default one": WEAK,
      "a short one": WEAK,
      "a well-known one": WEAK,
      "a short one behind https": WEAK,
      "a short one in development": "starts",
      "a good one": "starts",
    },
  },
  {
    id: "base-url-in-production",
    what: "mailed links, and what `Host` the requests for them name",
    async alone({ t, kind, folder }) {
      const hook = await startWebhook(t);
      const emailAndPassword = { enabled: true, sendResetPassword: { webhook: hook.url } };
      const config = { ...laidOver(folder, { emailAndPassword, secret: STRONG }), baseURL: undefined };
      const ask = async (_, server) => {
        const post = (route, body, host) => server.browser().call("POST", route, { body, headers: { host, origin: undefined } });
        await post("/sign-up/email", ADA, "auth.example.com");
        for (const host of ["auth.example.com", "elsewhere.example"]) await post("/request-password-reset", { email: ADA.email }, host);
        return hook.calls.map(({ args: [{ url }] }) => new URL(url).host);
      };
      return asked(kind, config, ask, { env: { NODE_ENV: "production" } });
    },
    peer: ["auth.example.com", "elsewhere.example"],
    portcullis: "refuses: baseURL: is missing; in production write the public URL, e.g. https://auth.example.com",
  },
  {
    id: "password-policy",
    what: "passwords that a policy refuses, and the same without one",
    config: () => ({
      emailAndPassword: { enabled: true, passwordPolicy: { rejectCommon: true, rejectContext: true, minClasses: 3, requireDigit: true } },
    }),
    async play(stage) {
      const all = {};
      const attempt = async (password) => {
        const email = `user${Object.keys(all).length}@example.com`;
        return said(await stage.browser().post("/sign-up/email", { name: "Ada Lovelace", email, password }));
      };
      for (const password of ["P@ssw0rd", "Lovelace-1815", "lower1234", "no-digit-here"]) all[password] = await attempt(password);
      await stage.restart({ emailAndPassword: { enabled: true } });
      all["without a policy"] = await attempt("password");
      return all;
    },
    peer: { "P@ssw0rd": "200", "Lovelace-1815": "200", lower1234: "200", "no-digit-here": "200", "without a policy": "200" },
    portcullis: {
      "P@ssw0rd": "400 PASSWORD_TOO_COMMON",
      "Lovelace-1815": "400 PASSWORD_CONTAINS_CONTEXT",
      lower1234: "400 PASSWORD_NEEDS_MORE_KINDS",
      "no-digit-here": "400 PASSWORD_NEEDS_DIGIT",
      "without a policy": "200",
    },
  },
  {
    id: "disabled-parameters",
    what: "a path with a parameter, as either server writes it",
    async alone({ kind, folder }) {
      const seen = {};
      const follow = async (browser) => said(await browser.call("GET", "/reset-password/none?callbackURL=/page"));
      for (const disabled of ["/reset-password/:token", "/reset-password/{token}"]) {
        seen[disabled] = await asked(kind, laidOver(folder, { disabledPaths: [disabled] }), follow);
      }
      return seen;
    },
    peer: { "/reset-password/:token": "302", "/reset-password/{token}": "302" },
    portcullis: {
      "/reset-password/:token":
        "refuses: disabledPaths: `/reset-password/:token` is no route of this build; did you mean `/reset-password/{token}`? What is not there needs no disabling",
      "/reset-password/{token}": "404 Not Found",
    },
  },
  {
    id: "ids-of-tables",
    what: "ids that the tables make",
    async alone({ kind, folder }) {
      // better-auth's own tables make none, so this is what an operator would have done to them.
      const own = path.join(folder, "own.db");
      await asked("peer", configuration(`sqlite:${own}`), signUp);
      const file = path.join(folder, "tables.db");
      const [from, to] = [new Database(own), new Database(file)];
      for (const sql of from.prepare("select sql from sqlite_master where type = 'table'").pluck().all()) {
        to.exec(sql.replace('"id" text not null primary key', `"id" text not null primary key default ('made by ' || lower(hex(randomblob(8))))`));
      }
      from.close();
      const config = configuration(`sqlite:${file}`, { migrate: false, advanced: { database: { generateId: false } } });
      const seen = await asked(kind, config, async (browser) => {
        const { json } = await browser.call("POST", "/sign-up/email", { body: ADA });
        return json.user.id;
      });
      to.close();
      return seen.replace(/made by [0-9a-f]{16}/, "made by the table");
    },
    peer: "made by the table",
    portcullis:
      'refuses: advanced.database.generateId: cannot be false: not every database makes ids of texts; "serial" and, in PostgreSQL, "uuid" are made by the database',
  },
];

// docs/conformance.md: every endpoint of better-auth, whether Portcullis has it, and what was played to both.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { betterAuth } from "better-auth";
import * as plugins from "better-auth/plugins";
import { command, SECRET } from "./target.mjs";

/** The plugins in npm's `better-auth` that have endpoints, with the options that bring all of them. */
const ROOMS = {
  username: {}, twoFactor: {}, multiSession: {}, jwt: {}, anonymous: {},
  admin: {}, deviceAuthorization: {}, emailOTP: {}, magicLink: {}, oAuthProxy: {}, oneTap: {}, oneTimeToken: {}, openAPI: {},
  organization: { teams: { enabled: true }, dynamicAccessControl: { enabled: true } }, phoneNumber: {}, siwe: {},
};

/** What Portcullis has as a room. */
const OURS = ["username", "twoFactor", "multiSession", "jwt", "anonymous", "bearer"];

const shown = (route) => route.replaceAll(/:(\w+)/g, "{$1}");

/** `METHOD /path` → the plugin it is of. */
function betterAuthEndpoints() {
  const found = new Map();
  const take = (endpoints, room) => {
    for (const { path: route, options } of Object.values(endpoints)) {
      if (!route || options?.metadata?.SERVER_ONLY) continue;
      for (const method of [options.method].flat()) {
        const name = `${method} ${shown(route)}`;
        if (!found.has(name)) found.set(name, room);
      }
    }
  };
  take(betterAuth({ secret: SECRET, baseURL: "http://localhost:3000", logger: { disabled: true } }).api, "core");
  for (const [name, options] of Object.entries(ROOMS)) take(plugins[name](options).endpoints ?? {}, name);
  return found;
}

/** `METHOD /path` of every route that the binary has, by its own description of itself. */
function ownEndpoints() {
  const folder = mkdtempSync(path.join(tmpdir(), "portcullis-coverage-"));
  try {
    const file = path.join(folder, "config.json");
    writeFileSync(file, JSON.stringify({ secret: SECRET, emailAndPassword: { enabled: true }, plugins: Object.fromEntries(OURS.map((name) => [name, {}])) }));
    const [program, ...words] = command("portcullis");
    const { paths } = JSON.parse(execFileSync(program, [...words, "--config", file, "openapi"], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] }));
    return new Set(Object.entries(paths).flatMap(([route, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${route}`)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const all = betterAuthEndpoints();

/** The endpoint that a request is for, `METHOD /path`, whatever stands in the path's parameters. */
export function endpointOf(method, route) {
  const bare = route.replace(/\?.*/, "");
  if (all.has(`${method} ${bare}`)) return `${method} ${bare}`;
  const like = [...all.keys()].find((name) => {
    const [verb, template] = name.split(" ");
    return verb === method && template.includes("{") && new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(bare);
  });
  return like ?? `${method} ${bare}`;
}

/** The page and a summary, from what was played. */
export async function coverage(played) {
  const own = ownEndpoints();
  const rows = [...all].map(([name, room]) => {
    const here = played.filter((one) => one.routes.has(name));
    const scenarios = here.filter((one) => one.scenario).length;
    return { name, room, own: own.has(name), cases: here.length - scenarios, scenarios, equal: here.filter((one) => one.equal).length };
  });
  const ours = rows.filter((row) => row.own);
  const line = (row) => `| \`${row.name}\` | ${row.room} | ${row.own ? "yes" : "–"} | ${row.cases} | ${row.scenarios} | ${row.equal} of ${row.cases + row.scenarios} |`;
  const equal = played.filter((one) => one.equal).length;
  const said = `${ours.length} of ${rows.length} endpoints are there. ${played.length} cases and scenarios were played to both. ${equal} of them ended equal in all but the headers for security and the kind of password hash (\`security-headers\`, \`hash-argon2id\`).`;
  const untried = ours.filter((row) => row.cases + row.scenarios === 0);
  const extra = [...own].filter((name) => !all.has(name));
  if (untried.length > 0) throw new Error(`never played: ${untried.map((row) => row.name)}`);
  if (extra.length > 0) throw new Error(`not an endpoint of better-auth: ${extra}`);
  const head = "| endpoint | of | implemented | cases | scenarios | equal |\n|---|---|---|---|---|---|";
  const page = `# Conformance

The same requests go to Better Auth and to Portcullis; answers, cookies, calls of the operator's functions and all rows of all tables are compared. How: \`conformance/README.md\`.

${said} In the others something differs that [COMPATIBILITY.md](../COMPATIBILITY.md) lists, on the way or at the end, and nothing else. Written by \`npm run coverage\` in \`conformance/\`; the suite fails when this page is stale.

*Cases* end with a request to the endpoint, *scenarios* pass through it. Endpoints are those of the npm package \`better-auth\`; plugins that are packages of their own are not listed.

${head}
${ours.map(line).join("\n")}

## Not there yet

${head}
${rows.filter((row) => !row.own).map(line).join("\n")}
`;
  return { page, summary: `\n${said}\n\n${head}\n${ours.map(line).join("\n")}\n` };
}

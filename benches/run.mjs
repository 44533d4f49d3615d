// Portcullis beside its peers, on this machine, with the same data:
//   cargo xtask bench [--rounds 3] [--seconds 4] [--only get-session,mixed] [--contenders "portcullis;bare axum"]
//     [--database postgres]
// Contenders take turns; what is printed are medians of the rounds, and ratios to Better Auth on Node. Every
// answer is checked while it is measured.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cookie, id, people, postgres, sqlite } from "./data.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: args } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "4" },
    users: { type: "string", default: "10000" },
    only: { type: "string" },
    contenders: { type: "string" },
    database: { type: "string", default: "sqlite" },
    portcullis: { type: "string" },
    tools: { type: "string" },
    rivals: { type: "string" },
  },
});
const folder = mkdtempSync(path.join(tmpdir(), "portcullis-bench-"));
const ORIGIN = "http://127.0.0.1:4999";
const SECRET = "a-secret-for-measuring-0123456789abcdef";
const PASSWORD = "correct horse battery";
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
const databases = args.database === "postgres" ? await postgres() : sqlite(folder);

// ---- servers ---------------------------------------------------------------------------------------

/** Starts a server; resolves to `{child, port, startMs}` with its first answer. */
async function start([program, ...words], path = "/api/auth/get-session") {
  const began = performance.now();
  const env = { ...process.env, NODE_ENV: "production" };
  const child = spawn(program, words, { env, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
  for (;;) {
    const port = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1];
    if (port && (await fetch(`http://127.0.0.1:${port}${path}`).catch(() => null))?.ok) {
      return { child, port, startMs: performance.now() - began };
    }
    if (child.exitCode !== null || performance.now() - began > 30_000) throw new Error(`${program} does not start: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function stop({ child }) {
  running.delete(child);
  child.kill("SIGTERM");
  const patience = setTimeout(() => child.kill("SIGKILL"), 5_000);
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  clearTimeout(patience);
}

/** Megabytes that a process holds. */
const memory = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;
/** Seconds of processor time; the clock ticks a hundred times a second on Linux. */
const cpu = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

async function load(port, parts, seconds) {
  const [first, second] = parts;
  const words = [port, first.connections, seconds, first.file, ...(second ? [second.connections, second.file] : [])];
  const child = spawn(path.join(args.tools, "load"), words.map(String), { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (data) => (out += data));
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`the load generator ended with ${code}`);
  return out.trim().split("\n").map((line) => JSON.parse(line));
}

// ---- contenders ------------------------------------------------------------------------------------

const portcullis = (file) => [args.portcullis, "serve", "--config", file, "--port", "0"];
const node = (file) => ["node", path.join(here, "../conformance/peer.mjs"), "--config", file, "--port", "0"];
const rival = (program) => (file) => [path.join(args.rivals, `rival-${program}`), "--config", file, "--port", "0"];
const bun = (file) => [path.join(here, "rivals/bun/node_modules/.bin/bun"), path.join(here, "rivals/bun/server.mjs"), "--config", file, "--port", "0"];
/** With one core for the server; the load generator has the others. */
const onOneCore = (command) => (file) => ["taskset", "-c", "0", ...command(file)];

const rooms = { plugins: { username: {}, jwt: {}, bearer: {}, multiSession: {}, anonymous: {}, twoFactor: { skipVerificationOnEnable: true } } };
const everybody = people(Number(args.users));
const thousand = people(1000);
const million = Array.from({ length: 1_000_000 - thousand.length }, id);

/** How each is started, with which settings, and what it is filled with. */
const contenders = {
  portcullis: { command: portcullis },
  "portcullis, jwt": { command: portcullis, settings: { plugins: { jwt: {} } } },
  "portcullis, all rooms": { command: portcullis, settings: rooms },
  "portcullis, scrypt": { command: portcullis, settings: { passwordHash: { algorithm: "scrypt" } } },
  "portcullis, one core": { command: onOneCore(portcullis) },
  "portcullis, 1,000 sessions": { command: portcullis, who: thousand },
  "portcullis, 1,000,000 sessions": { command: portcullis, who: thousand, more: million },
  "better-auth on Node": { command: node },
  "better-auth on Bun": { command: bun, needs: path.join(here, "rivals/bun/node_modules/.bin/bun") },
  "better-auth-rs": { command: rival("better-auth-rs"), needs: rival("better-auth-rs")()[0] },
  rustauth: { command: rival("rustauth"), needs: rival("rustauth")()[0] },
};

/** The hash that a server makes of the password, and its tables. */
async function prepare(contender, name) {
  const place = await databases.place(name);
  const file = path.join(folder, `${name.replaceAll(/\W+/g, "-")}.json`);
  const settings = {
    baseURL: ORIGIN,
    secret: SECRET,
    database: { url: place.url },
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    ...contender.settings,
  };
  writeFileSync(file, JSON.stringify(settings));
  const server = await start(contender.command(file));
  const answer = await fetch(`http://127.0.0.1:${server.port}/api/auth/sign-up/email`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: ORIGIN },
    body: JSON.stringify({ name: "First", email: "first@example.com", password: PASSWORD }),
  });
  if (!answer.ok) throw new Error(`${name}: sign-up: ${answer.status} ${await answer.text()}`);
  await stop(server);
  await place.fill(contender.who ?? everybody, await place.hash(), contender.more);
  Object.assign(contender, { place, file });
}

// ---- loads -----------------------------------------------------------------------------------------

function lines(name, all) {
  const file = path.join(folder, `${name}.jsonl`);
  writeFileSync(file, all.map((line) => JSON.stringify(line)).join("\n"));
  return file;
}

const read = (cookies, expect) => ({ request: `GET /api/auth/get-session HTTP/1.1\r\nhost: 127.0.0.1:4999\r\ncookie: ${cookies}\r\n\r\n`, expect });
const post = (route, body, expect) => {
  const text = JSON.stringify(body);
  const head = `POST /api/auth${route} HTTP/1.1\r\nhost: 127.0.0.1:4999\r\norigin: ${ORIGIN}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n`;
  return { request: head + text, expect };
};
const readsOf = (name, who) => lines(name, who.map(({ email, token }) => read(cookie(SECRET, token), `"${email}"`)));

const reads = readsOf("reads", everybody);
const signIns = lines("sign-ins", everybody.slice(0, 500).map(({ email }) => post("/sign-in/email", { email, password: PASSWORD }, `"${email}"`)));
const signUps = lines("sign-ups", [post("/sign-up/email", { name: "New", email: "n@@@@@@@@@@@@@example.com", password: PASSWORD }, '@example.com"')]);
const readsOfThousand = readsOf("reads-of-1000", thousand);
const readsOfMillion = lines("reads-of-1000000", million.slice(0, 100_000).map((token) => read(cookie(SECRET, token), '@example.com"')));

/** Sessions with a cookie cache, as each server writes it. */
async function cached(port, name) {
  const all = [];
  for (const { email } of everybody.slice(0, 30)) {
    const answer = await fetch(`http://127.0.0.1:${port}/api/auth/sign-in/email`, {
      method: "POST",
      headers: { "content-type": "application/json", origin: ORIGIN },
      body: JSON.stringify({ email, password: PASSWORD }),
    });
    const cookies = answer.headers.getSetCookie().map((text) => text.split(";")[0]).join("; ");
    if (!cookies.includes("session_data")) throw new Error(`${name} set no cookie cache: ${answer.status} ${cookies}`);
    all.push(read(cookies, `"${email}"`));
  }
  return lines(`cached-${name.replaceAll(/\W+/g, "-")}`, all);
}

const cache = { session: { cookieCache: { enabled: true, maxAge: 3600 } } };
for (const [name, command] of [["portcullis", portcullis], ["better-auth on Node", node], ["better-auth on Bun", bun]]) {
  contenders[`${name}, cookie cache`] = { ...contenders[name], command, settings: cache };
}

/** Tokens of an auth server, and a service that trusts them. */
const services = { "service, portcullis-verify": [path.join(args.tools, "service")], "service, jose on Node": ["node", path.join(here, "service.mjs")] };
async function trusting(name) {
  const contender = contenders["portcullis, jwt"];
  const issuer = await start(contender.command(contender.file));
  const auth = `http://127.0.0.1:${issuer.port}/api/auth`;
  const asked = [];
  for (const { email, token } of everybody.slice(0, 1000)) {
    const jwt = (await (await fetch(`${auth}/token`, { headers: { cookie: cookie(SECRET, token) } })).json()).token;
    asked.push({ request: `GET /me HTTP/1.1\r\nhost: 127.0.0.1:4998\r\nauthorization: Bearer ${jwt}\r\n\r\n`, expect: `{"email":"${email}"}` });
  }
  const server = await start([...services[name], ORIGIN, `${auth}/jwks`], "/ok");
  // The keys are fetched with the first token, on Node.
  if (!(await fetch(`http://127.0.0.1:${server.port}/me`, { headers: { authorization: /Bearer .*?(?=\r)/.exec(asked[0].request)[0] } })).ok) throw new Error(`${name} refuses`);
  await stop(issuer);
  return { server, asked: [of(32, lines(`tokens-${name.replaceAll(/\W+/g, "-")}`, asked))] };
}

const plain = ["portcullis", "better-auth on Node", "better-auth on Bun", "better-auth-rs", "rustauth"];
const of = (connections, file) => ({ connections, file });
const workloads = {
  "get-session": { contenders: ["portcullis", "portcullis, jwt", "portcullis, all rooms", ...plain.slice(1), "bare axum"], parts: [of(32, reads)] },
  "get-session, cookie cache": { contenders: ["portcullis", "better-auth on Node", "better-auth on Bun"].map((name) => `${name}, cookie cache`), parts: [], cached: true },
  "JWT at a service": { contenders: Object.keys(services), parts: [] },
  "get-session, 1,000 stored": { contenders: ["portcullis, 1,000 sessions"], parts: [of(32, readsOfThousand)] },
  "get-session, the same of 1,000,000 stored": { contenders: ["portcullis, 1,000,000 sessions"], parts: [of(32, readsOfThousand)] },
  "get-session, 100,000 of 1,000,000 stored": { contenders: ["portcullis, 1,000,000 sessions"], parts: [of(32, readsOfMillion)] },
  "sign-in": { contenders: ["portcullis", "portcullis, one core", "portcullis, scrypt", ...plain.slice(1), "bare hash"], parts: [of(8, signIns)] },
  "sign-up": { contenders: plain, parts: [of(8, signUps)] },
  mixed: { contenders: plain, parts: [of(32, reads), of(8, signIns)] },
};
const groups = { stored: Object.keys(workloads).filter((name) => name.endsWith("stored")), cache: ["get-session, cookie cache"] };
const chosen = args.only ? args.only.split(",").flatMap((name) => groups[name] ?? [name]) : Object.keys(workloads);
if (args.contenders) {
  const wanted = args.contenders.split(";");
  for (const workload of Object.values(workloads)) workload.contenders = workload.contenders.filter((name) => wanted.includes(name));
}
for (const name of chosen) if (!workloads[name]) throw new Error(`no workload ${name}; there are ${Object.keys(workloads).join("; ")}, and ${Object.keys(groups).join(", ")}`);

// ---- rounds ----------------------------------------------------------------------------------------

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const results = {};
const left = new Map();

/** One answer as it goes over the wire, which the bare handler sends. */
async function bare() {
  const { child, port } = await start(contenders.portcullis.command(contenders.portcullis.file));
  const answer = await fetch(`http://127.0.0.1:${port}/api/auth/get-session`, { headers: { cookie: cookie(SECRET, everybody[0].token) } });
  const body = path.join(folder, "body.json");
  writeFileSync(body, await answer.text());
  await stop({ child });
  return { command: [path.join(args.tools, "bare"), body], file: lines("bare", [JSON.parse(readFileSync(reads, "utf8").split("\n")[0])]) };
}

/** The default hash on all cores, with nothing around it. */
async function bareHash() {
  const child = spawn(path.join(args.tools, "hash"), [availableParallelism(), Math.ceil(Number(args.seconds))].map(String), { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (data) => (out += data));
  await once(child, "exit");
  const none = { p50: 0, p99: 0, busy: 0, generator: 0 };
  return { startMs: 0, idle: 0, after: 0, cpuPer1000: 0, parts: [{ ...none, ...JSON.parse(out) }] };
}

async function turn(workload, name) {
  if (name === "bare hash") return bareHash();
  const contender = contenders[name];
  const { parts, cached: hasCache } = workloads[workload];
  const lone = name === "bare axum" ? await bare() : undefined;
  if (contender) await contender.place.reset();
  const service = services[name] && (await trusting(name));
  const server = service?.server ?? (await start(lone ? lone.command : contender.command(contender.file)));
  const idle = memory(server.child.pid);
  const asked = service ? service.asked : lone ? [of(32, lone.file)] : hasCache ? [of(32, await cached(server.port, name))] : parts;
  await load(server.port, asked, 1.5);
  const before = cpu(server.child.pid);
  const seen = await load(server.port, asked, Number(args.seconds));
  const spent = cpu(server.child.pid) - before;
  const after = memory(server.child.pid);
  await stop(server);
  for (const one of seen) if (one.wrong > 0) throw new Error(`${name}, ${workload}: ${one.wrong} wrong answers`);
  const answered = seen.reduce((sum, one) => sum + one.perSecond, 0) * Number(args.seconds);
  return { startMs: server.startMs, idle, after, cpuPer1000: (spent / answered) * 1e6, parts: seen };
}

function print(workload) {
  const number = (value, digits = 0) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const kinds = workload === "mixed" ? ["get-session, mixed", "sign-in, mixed"] : [workload];
  for (const [part, title] of kinds.entries()) {
    console.log(`\n### ${title}\n\n| | per second | to Node | p50 ms | p99 ms | 503 | CPU ms per 1000 | MB idle | MB after | start ms | generator |`);
    console.log("|---|---|---|---|---|---|---|---|---|---|---|");
    const rate = (rows) => median(rows.map((row) => row.parts[part].perSecond));
    const peer = Object.entries(results[workload]).find(([name]) => /on Node/.test(name));
    for (const [name, rows] of Object.entries(results[workload])) {
      const middle = (pick) => median(rows.map(pick));
      const cells = [
        number(rate(rows)), peer ? `${number(rate(rows) / rate(peer[1]), 1)}×` : "",
        number(middle((row) => row.parts[part].p50) / 1000, 2), number(middle((row) => row.parts[part].p99) / 1000, 2),
        number(middle((row) => row.parts[part].busy)), number(middle((row) => row.cpuPer1000), 1),
        number(middle((row) => row.idle), 1), number(middle((row) => row.after), 1), number(middle((row) => row.startMs)),
        `${number(middle((row) => row.parts[part].generator) * 100)}%`,
      ];
      console.log(`| ${name} | ${cells.join(" | ")} |`);
    }
  }
}

try {
  for (const name of new Set(chosen.flatMap((workload) => workloads[workload].contenders))) {
    const contender = contenders[name];
    if (!contender) continue;
    try {
      if (contender.needs && !existsSync(contender.needs)) throw new Error("is not built; `cargo xtask bench --build-rivals` does it");
      await prepare(contender, name);
    } catch (error) {
      // A rival that does not run here is said to be missing; we ourselves have to run.
      if (!contender.needs) throw error;
      left.set(name, error.message.split("\n")[0]);
    }
  }
  if (chosen.includes("JWT at a service") && !contenders["portcullis, jwt"].file) await prepare(contenders["portcullis, jwt"], "portcullis, jwt");
  if (!contenders.portcullis.file) await prepare(contenders.portcullis, "portcullis");
  for (let round = 0; round < Number(args.rounds); round += 1) {
    for (const workload of chosen) {
      for (const name of workloads[workload].contenders.filter((name) => !left.has(name))) {
        ((results[workload] ??= {})[name] ??= []).push(await turn(workload, name));
      }
    }
  }
  console.log(`\n${args.database}, ${args.users} users, ${args.rounds} rounds of ${args.seconds} s, ${availableParallelism()} cores, load generator included`);
  for (const workload of chosen) {
    if (results[workload]) print(workload);
    else console.log(`\nnot measured: ${workload}: none of its contenders was chosen or is here`);
  }
  for (const [name, why] of left) console.log(`\nnot measured: ${name}: ${why}`);
} finally {
  for (const child of [...running]) child.kill("SIGKILL");
  await databases.stop();
  rmSync(folder, { recursive: true, force: true });
}

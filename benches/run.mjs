// Portcullis beside Better Auth on Node and a bare axum handler, on this machine, with the same data:
//   cargo xtask bench [--rounds 3] [--seconds 4] [--only get-session,mixed]
// Contenders take turns; what is printed are medians of the rounds, and ratios to Better Auth. Every
// answer is checked while it is measured.
import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = path.dirname(fileURLToPath(import.meta.url));
// The packages of the conformance suite, by its lockfile.
const Database = createRequire(path.join(here, "../conformance/package.json"))("better-sqlite3");
const { values: args } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "4" },
    users: { type: "string", default: "10000" },
    only: { type: "string" },
    portcullis: { type: "string" },
    tools: { type: "string" },
  },
});
const folder = mkdtempSync(path.join(tmpdir(), "portcullis-bench-"));
const SECRET = "a-secret-for-measuring-0123456789abcdef";
const PASSWORD = "correct horse battery";
const users = Number(args.users);
const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

// ---- servers ---------------------------------------------------------------------------------------

/** Starts a server; resolves to `{child, port, startMs}` with its first answer. */
async function start({ command, env }) {
  const began = performance.now();
  const [program, ...words] = command;
  const child = spawn(program, words, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
  for (;;) {
    const port = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1];
    if (port && (await fetch(`http://127.0.0.1:${port}/api/auth/ok`).catch(() => null))?.ok) {
      return { child, port, startMs: performance.now() - began };
    }
    if (child.exitCode !== null) throw new Error(`${program} ended: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function stop({ child }) {
  running.delete(child);
  child.kill("SIGTERM");
  if (child.exitCode === null) await once(child, "exit");
}

const status = (pid, key) => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
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

// ---- data ------------------------------------------------------------------------------------------

function config(name, over = {}) {
  const file = path.join(folder, `${name}.json`);
  const database = path.join(folder, `${name}.db`);
  const settings = {
    baseURL: "http://127.0.0.1:4999",
    secret: SECRET,
    database: { url: `sqlite:${database}` },
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    ...over,
  };
  writeFileSync(file, JSON.stringify(settings));
  return { file, database };
}

const portcullis = ({ file }) => ({ command: [args.portcullis, "serve", "--config", file, "--port", "0"] });
const node = ({ file }) => ({
  command: ["node", path.join(here, "../conformance/peer.mjs"), "--config", file, "--port", "0"],
  env: { NODE_ENV: "production" },
});

/** The hash that a server makes of the password. */
async function hashBy(make, place) {
  const server = await start(make(place));
  const answer = await fetch(`http://127.0.0.1:${server.port}/api/auth/sign-up/email`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: "http://127.0.0.1:4999" },
    body: JSON.stringify({ name: "First", email: "first@example.com", password: PASSWORD }),
  });
  if (!answer.ok) throw new Error(`sign-up: ${answer.status} ${await answer.text()}`);
  await stop(server);
  const database = new Database(place.database);
  const { password } = database.prepare("select password from account").get();
  database.close();
  return password;
}

const id = () => randomBytes(24).toString("base64url").replace(/[-_]/g, "x");

function fill({ database: file }, hash, sessions) {
  const database = new Database(file);
  const now = new Date().toISOString();
  const later = new Date(Date.now() + 6.5 * 86_400_000).toISOString();
  const user = database.prepare('insert into "user" (id, name, email, emailVerified, createdAt, updatedAt) values (?, ?, ?, 1, ?, ?)');
  const account = database.prepare("insert into account (id, accountId, providerId, userId, password, createdAt, updatedAt) values (?, ?, 'credential', ?, ?, ?, ?)");
  const session = database.prepare("insert into session (id, expiresAt, token, createdAt, updatedAt, ipAddress, userAgent, userId) values (?, ?, ?, ?, ?, '127.0.0.1', 'bench', ?)");
  database.transaction(() => {
    for (const { email, token } of sessions) {
      const userId = id();
      user.run(userId, "Some Body", email, now, now);
      account.run(id(), userId, userId, hash, now, now);
      session.run(id(), later, token, now, now, userId);
    }
  })();
  database.pragma("wal_checkpoint(TRUNCATE)");
  database.close();
}

function lines(name, all) {
  const file = path.join(folder, name);
  writeFileSync(file, all.map((line) => JSON.stringify(line)).join("\n"));
  return file;
}

const cookie = (token) =>
  `better-auth.session_token=${encodeURIComponent(`${token}.${createHmac("sha256", SECRET).update(token).digest("base64")}`)}`;

const sessions = Array.from({ length: users }, (_, number) => ({ email: `u${number}@example.com`, token: id() }));
const reads = lines(
  "reads.jsonl",
  sessions.map(({ email, token }) => ({
    request: `GET /api/auth/get-session HTTP/1.1\r\nhost: 127.0.0.1:4999\r\ncookie: ${cookie(token)}\r\n\r\n`,
    expect: `"${email}"`,
  })),
);
const signIns = lines(
  "sign-ins.jsonl",
  sessions.slice(0, 500).map(({ email }) => {
    const body = JSON.stringify({ email, password: PASSWORD });
    return {
      request:
        "POST /api/auth/sign-in/email HTTP/1.1\r\nhost: 127.0.0.1:4999\r\norigin: http://127.0.0.1:4999\r\n" +
        `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      expect: `"${email}"`,
    };
  }),
);

// ---- contenders ------------------------------------------------------------------------------------

const scrypt = { passwordHash: { algorithm: "scrypt" } };
const rooms = { plugins: { username: {}, jwt: {}, bearer: {}, multiSession: {}, anonymous: {}, twoFactor: { skipVerificationOnEnable: true } } };
const places = {
  portcullis: config("portcullis"),
  "portcullis, all rooms": config("portcullis-rooms", rooms),
  "portcullis, scrypt": config("portcullis-scrypt", scrypt),
  "better-auth on Node": config("node"),
};
const makers = {
  portcullis,
  "portcullis, all rooms": portcullis,
  "portcullis, scrypt": portcullis,
  "better-auth on Node": node,
};
for (const [name, place] of Object.entries(places)) {
  fill(place, await hashBy(makers[name], place), sessions);
  copyFileSync(place.database, `${place.database}.seed`);
}
// One answer as it goes over the wire, for the bare handler.
{
  const server = await start(makers.portcullis(places.portcullis));
  const answer = await fetch(`http://127.0.0.1:${server.port}/api/auth/get-session`, { headers: { cookie: cookie(sessions[0].token) } });
  writeFileSync(path.join(folder, "body.json"), await answer.text());
  await stop(server);
}
const bareReads = lines("bare.jsonl", readFileSync(reads, "utf8").split("\n").slice(0, 1).map((line) => JSON.parse(line)));
const bare = { command: [path.join(args.tools, "bare"), path.join(folder, "body.json")] };

const all = ["portcullis", "better-auth on Node"];
const workloads = {
  "get-session": { contenders: ["portcullis", "portcullis, all rooms", "better-auth on Node", "bare axum"], parts: [{ connections: 32, file: reads }] },
  "sign-in": { contenders: ["portcullis", "portcullis, scrypt", "better-auth on Node"], parts: [{ connections: 8, file: signIns }] },
  mixed: { contenders: all, parts: [{ connections: 32, file: reads }, { connections: 8, file: signIns }] },
};
const chosen = args.only?.split(",") ?? Object.keys(workloads);

// ---- rounds ----------------------------------------------------------------------------------------

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const results = {};
for (let round = 0; round < Number(args.rounds); round += 1) {
  for (const workload of chosen) {
    const { contenders, parts } = workloads[workload];
    for (const name of contenders) {
      let command = bare;
      if (name !== "bare axum") {
        // Sign-ins write: every turn has the same data.
        const { file, database } = places[name];
        for (const end of ["", "-wal", "-shm"]) rmSync(`${database}${end}`, { force: true });
        copyFileSync(`${database}.seed`, database);
        command = makers[name]({ file });
      }
      const asked = name === "bare axum" ? [{ ...parts[0], file: bareReads }] : parts;
      const server = await start(command);
      const idle = status(server.child.pid, "VmRSS");
      await load(server.port, asked, 1.5);
      const before = cpu(server.child.pid);
      const seen = await load(server.port, asked, Number(args.seconds));
      const spent = cpu(server.child.pid) - before;
      const after = status(server.child.pid, "VmRSS");
      await stop(server);
      for (const one of seen) if (one.wrong > 0) throw new Error(`${name}, ${workload}: ${one.wrong} wrong answers`);
      const answered = seen.reduce((sum, one) => sum + one.perSecond, 0) * Number(args.seconds);
      const row = { startMs: server.startMs, idleMB: idle / 1024, afterMB: after / 1024, cpuPer1000: (spent / answered) * 1e6, parts: seen };
      ((results[workload] ??= {})[name] ??= []).push(row);
    }
  }
}

// ---- what came out ---------------------------------------------------------------------------------

const number = (value, digits = 0) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
for (const workload of chosen) {
  const kinds = workload === "mixed" ? ["get-session, mixed", "sign-in, mixed"] : [workload];
  for (const [part, title] of kinds.entries()) {
    console.log(`\n### ${title}\n\n| | per second | to Better Auth | p50 ms | p99 ms | 503 | CPU ms per 1000 | MB idle | MB after | start ms |`);
    console.log("|---|---|---|---|---|---|---|---|---|---|");
    const rate = (rows) => median(rows.map((row) => row.parts[part].perSecond));
    const peer = rate(results[workload]["better-auth on Node"]);
    for (const [name, rows] of Object.entries(results[workload])) {
      const of = (pick) => median(rows.map(pick));
      const cells = [
        number(rate(rows)), `${number(rate(rows) / peer, 1)}×`,
        number(of((row) => row.parts[part].p50) / 1000, 2), number(of((row) => row.parts[part].p99) / 1000, 2),
        number(of((row) => row.parts[part].busy)), number(of((row) => row.cpuPer1000), 1),
        number(of((row) => row.idleMB), 1), number(of((row) => row.afterMB), 1), number(of((row) => row.startMs)),
      ];
      console.log(`| ${name} | ${cells.join(" | ")} |`);
    }
  }
}

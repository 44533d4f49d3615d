// The servers of the examples as processes: Portcullis, an API, the Next.js app. Each on a free port of 127.0.0.1,
// each waited for by asking it, each ended by its process id.
//
//   PORTCULLIS_BIN         default target/release/portcullis
//   TASKS_AXUM_BIN         default target/release/tasks-axum, else target/debug/tasks-axum
//   TASKS_FASTAPI_PYTHON   a Python with requirements.txt of tasks-fastapi; default: a venv made in target/
//   NEXT_BUILD=keep        use the Next.js build that is there
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const examples = fileURLToPath(new URL("..", import.meta.url));
const target = path.resolve(process.env.CARGO_TARGET_DIR ?? path.join(examples, "../target"));
const nextApp = path.join(examples, "tasks-nextjs");
const fastApi = path.join(examples, "tasks-fastapi");

/** Shared by Portcullis and the API where tokens are signed with HS256. */
export const JWT_SECRET = "examples-hs256-Jq7vR2xW9mKc4TzB6nLs";
const SECRET = "examples-secret-9fK2mQ7xR4vT8wZ1bN6c";

/** The first of these that is there. */
function binary(variable, ...names) {
  const given = process.env[variable];
  const found = given ? [path.resolve(given)] : names.map((name) => path.join(target, name));
  const file = found.find((one) => existsSync(one));
  if (!file) throw new Error(`${variable}: no such file, ${found.join(" nor ")}; build it (cargo build --release), or set ${variable}`);
  return file;
}

/** A port that nobody has, and that the system does not give out again for a while. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Holds a lock file while `work` runs: test files are processes of their own, and may start at the same time. */
async function exclusively(file, work) {
  await mkdir(path.dirname(file), { recursive: true });
  for (;;) {
    const lock = await open(file, "wx").catch((error) => {
      if (error.code !== "EEXIST") throw error;
    });
    if (lock) {
      await lock.writeFile(`${process.pid}`);
      await lock.close();
      break;
    }
    const holder = Number(await readFile(file, "utf8").catch(() => ""));
    if (holder && !alive(holder)) await rm(file, { force: true });
    await wait(200);
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

function alive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** What is set around the tests for servers of somebody's own is not for these. */
const surroundings = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PORTCULLIS_(?!BIN)|BETTER_AUTH_|AUTH_|JWT_|APP_|API_|NEXT_|DATABASE_URL|FRONTEND_|HOST$|PORT$|NODE_ENV$)/.test(name)));

/** A program that runs until `stop()`. It is ready when `url` answers. */
async function start(name, [program, ...words], { url, env, cwd }) {
  const child = spawn(program, words, { cwd, env: { ...surroundings(), ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (chunk) => (said = (said + chunk).slice(-20_000)));
  let over;
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve((over = `${error}`)));
    child.once("exit", (code, signal) => resolve((over = `exit ${code ?? signal}`)));
  });
  // Whatever becomes of this process, none of the others is left behind.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const stop = async () => {
    child.kill("SIGTERM");
    const late = new AbortController();
    await Promise.race([ended, wait(10_000, undefined, { signal: late.signal }).then(kill, () => {})]);
    await ended;
    late.abort();
    process.removeListener("exit", kill);
  };
  const deadline = Date.now() + 60_000;
  for (;;) {
    if (over) throw new Error(`${name}: ended before it answered: ${over}\n${said}`);
    const answer = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer && answer.status < 500) break;
    if (Date.now() > deadline) {
      await stop();
      throw new Error(`${name}: does not answer at ${url}\n${said}`);
    }
    await wait(100);
  }
  return { name, stop, log: () => said };
}

async function startPortcullis(folder, env) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const words = [binary("PORTCULLIS_BIN", "release/portcullis"), "--config", path.join(examples, "portcullis.toml")];
  return { url, ...(await start("portcullis", words, { url: `${url}/ready`, cwd: folder, env: { ...env, PORTCULLIS__HTTP__LISTEN: `127.0.0.1:${port}` } })) };
}

/** The Python of tasks-fastapi: made once, and again when its requirements change. */
async function python() {
  if (process.env.TASKS_FASTAPI_PYTHON) return process.env.TASKS_FASTAPI_PYTHON;
  const requirements = path.join(fastApi, "requirements.txt");
  const venv = path.join(target, "tasks-fastapi-venv");
  const stamp = path.join(venv, "requirements.sha256");
  return exclusively(`${venv}.lock`, async () => {
    const wanted = createHash("sha256").update(await readFile(requirements)).digest("hex");
    if ((await readFile(stamp, "utf8").catch(() => "")) !== wanted) {
      await rm(venv, { recursive: true, force: true });
      await run("python3", ["-m", "venv", venv]);
      await run(path.join(venv, "bin/python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
      await writeFile(stamp, wanted);
    }
    return path.join(venv, "bin/python");
  });
}

let built;

/** `next build`, once; what differs between the tests is read when the app starts. */
function buildNext() {
  built ??= exclusively(path.join(target, "tasks-nextjs.lock"), async () => {
    const env = { ...surroundings(), NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" };
    const lock = path.join(nextApp, "package-lock.json");
    const stamp = path.join(nextApp, "node_modules/.installed-from");
    const wanted = createHash("sha256").update(await readFile(lock)).digest("hex");
    if ((await readFile(stamp, "utf8").catch(() => "")) !== wanted) {
      await run("npm", ["ci", "--include=dev", "--no-audit", "--no-fund"], { cwd: nextApp });
      await writeFile(stamp, wanted);
    }
    if (process.env.NEXT_BUILD === "keep" && existsSync(path.join(nextApp, ".next/BUILD_ID"))) return;
    await run(process.execPath, ["node_modules/next/dist/bin/next", "build"], { cwd: nextApp, env }).catch((error) => {
      throw new Error(`next build failed\n${error.stdout}\n${error.stderr}`);
    });
  });
  return built;
}

async function startNext(port, { authUrl, apiUrl }) {
  await buildNext();
  const url = `http://localhost:${port}`;
  const words = [process.execPath, "node_modules/next/dist/bin/next", "start", "--hostname", "127.0.0.1", "--port", `${port}`];
  const env = { APP_URL: url, AUTH_URL: authUrl, API_URL: apiUrl, NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" };
  return start("tasks-nextjs", words, { url: `${url}/icon.svg`, cwd: nextApp, env });
}

/**
 * Everything that one test file needs of one API: an auth server with an empty database, the API, and the Next.js
 * app if it is asked for. `keys` is "JWKS" or "HS256".
 */
export async function startStack(api, { keys = "JWKS", next = false } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), "portcullis-examples-"));
  const servers = [];
  const running = async (promise) => {
    const server = await promise;
    servers.push(server);
    return server;
  };
  const stop = async () => {
    for (const server of servers.reverse()) await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    // The address that people see; with APIs alone nobody listens there.
    const nextPort = await freePort();
    const origin = `http://localhost:${nextPort}`;
    const apiPort = await freePort();
    const apiUrl = `http://127.0.0.1:${apiPort}`;
    const authDatabase = `sqlite:${path.join(folder, "auth.db")}`;
    const auth = {
      BETTER_AUTH_URL: origin,
      BETTER_AUTH_SECRET: SECRET,
      DATABASE_URL: authDatabase,
      ...(keys === "HS256" && { PORTCULLIS__PLUGINS__JWT__ALGORITHM: "HS256", JWT_SECRET }),
    };
    const ofApi = { HOST: "127.0.0.1", PORT: `${apiPort}`, FRONTEND_ORIGINS: origin };

    let authServer, authUrl, apiServer;
    if (api === "tasks-fastapi") {
      authServer = await running(startPortcullis(folder, auth));
      authUrl = authServer.url;
      const env = {
        ...ofApi,
        PYTHONPATH: fastApi,
        AUTH_URL: authUrl,
        AUTH_ISSUER: origin,
        AUTH_AUDIENCE: origin,
        DATABASE_URL: `sqlite:${path.join(folder, "tasks.db")}`,
        ...(keys === "HS256" && { JWT_SECRET }),
      };
      apiServer = await running(start(api, [await python(), "-m", "app"], { url: `${apiUrl}/api/health`, cwd: folder, env }));
    } else {
      authUrl = apiUrl;
      const env = {
        ...ofApi,
        AUTH_URL: apiUrl,
        AUTH_ISSUER: origin,
        AUTH_AUDIENCE: origin,
        BETTER_AUTH_URL: origin,
        BETTER_AUTH_SECRET: SECRET,
        DATABASE_URL: authDatabase,
        ...(keys === "HS256" && { JWT_SECRET }),
      };
      const words = [binary("TASKS_AXUM_BIN", "release/tasks-axum", "debug/tasks-axum")];
      apiServer = authServer = await running(start(api, words, { url: `${apiUrl}/api/health`, cwd: folder, env }));
    }
    const app = next ? await running(startNext(nextPort, { authUrl, apiUrl })) : undefined;

    let late;
    return {
      origin,
      authUrl,
      apiUrl,
      app,
      authServer,
      apiServer,
      /** Portcullis over the same users and keys, whose tokens have expired a minute ago. Nobody has to wait for one. */
      expired: () => (late ??= running(startPortcullis(folder, { ...auth, PORTCULLIS__PLUGINS__JWT__JWT__EXPIRATION_TIME: "-1m" }))),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

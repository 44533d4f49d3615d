// PostgreSQL, MariaDB and Redis from the installed binaries, each in a temporary folder on a free port, ended
// by its process id. None runs as root, so under root they run as their Debian users or as nobody.
import { execFileSync, spawn } from "node:child_process";
import { accessSync, chownSync, constants, existsSync, readdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";
import mysql from "mysql2/promise";
import pg from "pg";

function find(program, ...folders) {
  for (const folder of [...folders, ...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"]) {
    const file = path.join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not here: look further
    }
  }
  return undefined;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** How to run as somebody else when we are root, and who that is. */
function somebody(user) {
  if (process.getuid() !== 0) return { wrap: (words) => words, own: () => {} };
  const id = (flag, name) => Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  let uid;
  let gid;
  for (const name of [user, "nobody"]) {
    try {
      uid = id("-u", name);
      gid = id("-g", name);
      break;
    } catch {
      // no such user: the next one
    }
  }
  if (uid === undefined) throw new Error(`neither the user ${user} nor nobody exists`);
  const setpriv = find("setpriv");
  if (!setpriv) throw new Error("setpriv (util-linux) is missing");
  return {
    wrap: (words) => [setpriv, `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--", ...words],
    own: (file) => chownSync(file, uid, gid),
  };
}

function run([program, ...words], cwd) {
  try {
    execFileSync(program, words, { cwd, stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  } catch (error) {
    throw new Error(`${program}: ${error.message}\n${error.stdout ?? ""}`);
  }
}

/** Runs a server until `ready()` succeeds; gives back how to end it. */
async function serve(name, [program, ...words], folder, ready, signal) {
  const child = spawn(program, words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stdout.on("data", (chunk) => (log += chunk));
  child.stderr.on("data", (chunk) => (log += chunk));
  let over;
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve((over = String(error))));
    child.once("exit", (code, by) => resolve((over = `${code ?? by}`)));
  });
  const stop = async () => {
    // setpriv replaces itself by the server, so this is the server's own id.
    child.kill(signal);
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const deadline = Date.now() + 60_000;
  for (;;) {
    if (over !== undefined) throw new Error(`${name} ended (${over}) while starting:\n${log}`);
    try {
      await ready();
      return stop;
    } catch (error) {
      if (Date.now() > deadline) {
        await stop();
        throw new Error(`${name} is not ready after 60 s: ${error.message}\n${log.slice(-2_000)}`);
      }
      await sleep(100);
    }
  }
}

async function postgres(initdb, server) {
  const { wrap, own } = somebody("postgres");
  const folder = await mkdtemp(path.join(tmpdir(), "portcullis-postgres-"));
  own(folder);
  const data = path.join(folder, "data");
  run(wrap([initdb, "-D", data, "-U", "portcullis", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]), folder);
  const port = await freePort();
  const url = (database) => `postgres://portcullis@127.0.0.1:${port}/${database}`;
  const execute = async (sql) => {
    const client = new pg.Client({ connectionString: url("postgres") });
    try {
      await client.connect();
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  const words = [server, "-D", data, "-p", `${port}`, "-h", "127.0.0.1", "-k", folder, "-c", "fsync=off"];
  const stop = await serve("PostgreSQL", wrap(words), folder, () => execute("select 1"), "SIGINT");
  return {
    stop,
    async create(name) {
      await execute(`create database "${name}"`);
      return url(name);
    },
    async query(at, sql) {
      const client = new pg.Client({ connectionString: at });
      await client.connect();
      const { rows } = await client.query(sql);
      await client.end();
      return rows;
    },
  };
}

async function mariadb(install, server) {
  const { wrap, own } = somebody("mysql");
  const folder = await mkdtemp(path.join(tmpdir(), "portcullis-mariadb-"));
  own(folder);
  const data = path.join(folder, "data");
  run(wrap([install, "--no-defaults", `--datadir=${data}`, "--auth-root-authentication-method=normal", "--skip-test-db"]), folder);
  const port = await freePort();
  const init = path.join(folder, "init.sql");
  // One statement a line is what an init file may have.
  writeFileSync(init, "create user portcullis@'127.0.0.1' identified by 'gate';\ngrant all on *.* to portcullis@'127.0.0.1';\n");
  own(init);
  const url = (database) => `mysql://portcullis:gate@127.0.0.1:${port}/${database}`;
  const query = async (at, sql) => {
    const connection = await mysql.createConnection({ uri: at, timezone: "Z" });
    try {
      return (await connection.query(sql))[0];
    } finally {
      await connection.end();
    }
  };
  const words = [
    server, "--no-defaults", `--datadir=${data}`, `--port=${port}`, "--bind-address=127.0.0.1", "--skip-name-resolve",
    `--socket=${path.join(folder, "mysql.sock")}`, `--pid-file=${path.join(folder, "mysql.pid")}`, `--init-file=${init}`,
    "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
  ];
  const stop = await serve("MariaDB", wrap(words), folder, () => query(url(""), "select 1"), "SIGTERM");
  return {
    stop,
    async create(name) {
      await query(url(""), `create database \`${name}\` character set utf8mb4`);
      return url(name);
    },
    query,
  };
}

async function redis(server) {
  const { wrap, own } = somebody("redis");
  const folder = await mkdtemp(path.join(tmpdir(), "portcullis-redis-"));
  own(folder);
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  const words = [server, "--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"];
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 1, retryStrategy: () => 50 });
  client.on("error", () => {});
  const end = await serve("Redis", wrap(words), folder, () => client.ping(), "SIGTERM");
  return {
    url,
    client,
    async stop() {
      client.disconnect();
      await end();
    },
  };
}

function postgresBinaries() {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = versions.map((version) => path.join(root, version, "bin"));
  const initdb = find("initdb", ...folders);
  // Of one version: the server beside its initdb.
  return [initdb, initdb && find("postgres", path.dirname(initdb))];
}

/**
 * Starts `postgres`, `mariadb` or `redis` for a test. Where it is not installed: with CI set the test fails, and
 * otherwise it is skipped, saying so; `undefined` is the answer then.
 */
export async function startDatabase(t, name) {
  const [binaries, boot, packages] =
    name === "postgres"
      ? [postgresBinaries(), postgres, "postgresql"]
      : name === "redis"
        ? [[find("redis-server")], redis, "redis-server"]
        : [[find("mariadb-install-db"), find("mariadbd") ?? find("mysqld")], mariadb, "mariadb-server"];
  if (binaries.some((file) => file === undefined)) {
    const message = `${name} is not installed (Debian: apt-get install ${packages})`;
    if (process.env.CI) throw new Error(message);
    process.stderr.write(`\n*** SKIPPED: ${message}. Nothing was tested on it. ***\n\n`);
    t.skip(message);
    return undefined;
  }
  const database = await boot(...binaries);
  t.after(database.stop);
  return database;
}

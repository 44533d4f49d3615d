// What a server does by itself, and when it has too much to do or nothing to do it with.
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import Database from "better-sqlite3";
import { ADA, deferred, eventually, said, soon } from "../helpers.mjs";
import { configuration, startFor, startWebhook } from "../target.mjs";

/** The answer to a request, if it comes; "nothing" are those that would come when something else happens. */
const answerOf = (answer, seconds = 10) => soon(answer, seconds, "nothing");

/** Less than a pool waits by itself before it gives up. */
const BEFORE_THE_POOL = 4.5;

/** Sends bytes as they are; `answer` is the status of what comes back, or "closed". */
function send(base, bytes) {
  const { hostname, port } = new URL(base);
  const socket = net.connect(port, hostname, () => socket.write(bytes));
  const { promise: answer, resolve } = deferred();
  let text = "";
  socket.on("data", (chunk) => (text += chunk));
  socket.on("error", () => {});
  socket.on("close", () => resolve(text.split(" ")[1] ?? "closed"));
  return { answer, write: (more) => socket.writable && socket.write(more) };
}

/** Stands between a server and its database at `url`. */
async function gate(t, url) {
  const open = new Set();
  const waiting = new Set();
  let speaks = true;
  const connect = (socket) => {
    const other = net.connect(url.port, url.hostname);
    for (const [one, another] of [[socket, other], [other, socket]]) {
      one.pipe(another);
      one.on("error", () => {});
      one.on("close", () => another.destroy());
    }
    open.add(socket);
  };
  const server = net.createServer((socket) => (speaks ? connect(socket) : waiting.add(socket.on("error", () => {}))));
  const listen = (port) => once(server.listen(port, "127.0.0.1"), "listening");
  await listen(0);
  const { port } = server.address();
  const breakAll = () => {
    for (const socket of [...open, ...waiting]) socket.destroy();
    open.clear();
    waiting.clear();
  };
  const gate = {
    url: Object.assign(new URL(url), { port }).href,
    /** Connections break, and who connects is not answered. */
    fallSilent() {
      speaks = false;
      breakAll();
    },
    /** Nobody listens. */
    async leave() {
      const closed = once(server, "close");
      server.close();
      breakAll();
      await closed;
    },
    /** As ever; who has waited is served now. */
    async speak() {
      speaks = true;
      if (!server.listening) await listen(port);
      for (const socket of waiting) connect(socket);
      waiting.clear();
    },
  };
  t.after(async () => {
    if (server.listening) await gate.leave();
  });
  return gate;
}

export default [
  {
    id: "rehash",
    what: "an old hash, a wrong password, the right one, and stronger parameters",
    config: () => ({ passwordHash: { algorithm: "scrypt" } }),
    async play(stage) {
      const hash = async () => {
        const [{ password }] = (await stage.database.read()).get("account").values();
        return /^[0-9a-f]{32}:[0-9a-f]{128}$/.test(password) ? "scrypt" : password.replace(/\$[^$]+\$[^$]+$/, "");
      };
      const signIn = (password) => stage.browser().post("/sign-in/email", { email: ADA.email, password });
      await stage.browser().post("/sign-up/email", ADA);
      const seen = { signedUp: await hash() };
      await stage.restart({ passwordHash: {} });
      await signIn("wrong horse battery");
      seen.wrong = await hash();
      await signIn(ADA.password);
      seen.right = await hash();
      await stage.restart({ passwordHash: { time: 3 } });
      await signIn(ADA.password);
      seen.stronger = await hash();
      return seen;
    },
    peer: { signedUp: "scrypt", wrong: "scrypt", right: "scrypt", stronger: "scrypt" },
    portcullis: {
      signedUp: "scrypt",
      wrong: "scrypt",
      right: "$argon2id$v=19$m=19456,t=2,p=1",
      stronger: "$argon2id$v=19$m=19456,t=3,p=1",
    },
  },
  {
    id: "hash-queue",
    what: "forty sign-ins at once, where a hash takes a tenth of a second and eight may wait",
    async alone({ t, kind, folder }) {
      // A process of its own: better-auth does nothing else while it hashes.
      const passwordHash = { threads: 1, queue: 8, time: 10 };
      const server = await startFor(t, kind, configuration(`sqlite:${path.join(folder, "queue.db")}`, { passwordHash }));
      const signIn = () => server.browser().call("POST", "/sign-in/email", { body: { email: "nobody@example.com", password: ADA.password } });
      const answers = await Promise.all(Array.from({ length: 40 }, signIn));
      const kinds = answers.map((answer) => `${said(answer)}, retry-after: ${answer.headers["retry-after"]}`);
      return [...new Set(kinds)].sort();
    },
    peer: ["401 INVALID_EMAIL_OR_PASSWORD, retry-after: undefined"],
    portcullis: ["401 INVALID_EMAIL_OR_PASSWORD, retry-after: undefined", "503 SERVICE_UNAVAILABLE, retry-after: 1"],
  },
  {
    id: "outages",
    what: "PostgreSQL that is not there, that says nothing, that is back, and that goes again",
    on: "postgres",
    async alone({ t, kind, database }) {
      const between = await gate(t, new URL(await database.create(`outages_${kind}`)));
      const server = await startFor(t, kind, configuration(between.url));
      const ada = server.browser();
      await ada.call("POST", "/sign-up/email", { body: ADA });
      const read = async () => {
        const { status, headers } = await ada.call("GET", "/get-session");
        return headers["retry-after"] ? `${status}, come back after ${headers["retry-after"]}` : `${status}`;
      };
      const recovered = () => eventually(async () => (await read()) === "200", 60);

      await between.leave();
      const gone = await answerOf(read(), BEFORE_THE_POOL);
      await between.speak();
      await recovered();

      between.fallSilent();
      const asked = read();
      const silent = await answerOf(asked, BEFORE_THE_POOL);
      await between.speak();
      const answered = await asked;
      await recovered();
      const back = await read();

      await between.leave();
      // Sooner than the driver gives up, which tries to connect for five seconds.
      const goneAgain = await answerOf(read(), BEFORE_THE_POOL);
      return { gone, silent, answered, back, goneAgain };
    },
    peer: { gone: "500", silent: "nothing", answered: "200", back: "200", goneAgain: "500" },
    portcullis: {
      gone: "503, come back after 1",
      silent: "503, come back after 1",
      answered: "503, come back after 1",
      back: "200",
      goneAgain: "503, come back after 1",
    },
  },
  {
    id: "purge",
    what: "expired rows that nobody asks for, and then somebody does",
    async alone({ t, kind, folder }) {
      const play = async (disableCleanup) => {
        const file = path.join(folder, `${disableCleanup}.db`);
        const hook = await startWebhook(t);
        const config = configuration(`sqlite:${file}`, {
          emailAndPassword: { enabled: true, sendResetPassword: { webhook: hook.url } },
          verification: { disableCleanup },
          purge: { interval: 1 },
        });
        const server = await startFor(t, kind, config, { env: {} });
        const ada = server.browser();
        await ada.call("POST", "/sign-up/email", { body: ADA });
        await server.browser().call("POST", "/request-password-reset", { body: { email: ADA.email } });
        const database = new Database(file);
        t.after(() => database.close());
        const there = () => ["session", "verification"].filter((table) => database.prepare(`select 1 from ${table}`).get());
        const seen = { fresh: there() };
        for (const table of seen.fresh) database.exec(`update ${table} set expiresAt = '2001-01-01T00:00:00.000Z'`);
        await eventually(() => there().length === (disableCleanup ? 1 : 0), 10);
        seen.expired = there();
        await ada.call("GET", "/get-session");
        await server.browser().call("GET", "/reset-password/none?callbackURL=/page");
        seen.asked = there();
        return seen;
      };
      const [usually, disableCleanup] = await Promise.all([play(false), play(true)]);
      return { usually, disableCleanup };
    },
    peer: {
      usually: { fresh: ["session", "verification"], expired: ["session", "verification"], asked: [] },
      disableCleanup: { fresh: ["session", "verification"], expired: ["session", "verification"], asked: ["verification"] },
    },
    portcullis: {
      usually: { fresh: ["session", "verification"], expired: [], asked: [] },
      disableCleanup: { fresh: ["session", "verification"], expired: ["verification"], asked: ["verification"] },
    },
  },
  {
    id: "timeouts",
    what: "a function that takes long, half a body, and half a head",
    async alone({ t, kind, folder }) {
      const { promise: thought, resolve: answerNow } = deferred();
      const { url: webhook } = await startWebhook(t, async () => {
        await thought;
        return { result: null };
      });
      const config = configuration(`sqlite:${path.join(folder, "timeouts.db")}`, {
        http: { timeout: 1 },
        databaseHooks: { user: { create: { before: { webhook } } } },
      });
      const server = await startFor(t, kind, config);
      const answer = server.browser().call("POST", "/sign-up/email", { body: ADA });
      const head = "POST /api/auth/sign-in/email HTTP/1.1\r\nHost: localhost:3000\r\nConnection: close\r\n";
      const body = JSON.stringify({ email: "nobody@example.com", password: ADA.password });
      const halfBody = send(server.url, `${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`);
      const halfHead = send(server.url, head);

      const before = await Promise.all([answerOf(answer.then(said)), answerOf(halfBody.answer), answerOf(halfHead.answer, 20)]);
      answerNow();
      halfBody.write(body.slice(10));
      halfHead.write("Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
      return { before, after: await Promise.all([answer.then(said), halfBody.answer, halfHead.answer]) };
    },
    peer: {
      before: ["nothing", "nothing", "nothing"],
      after: ["200", "401", "400"],
    },
    portcullis: {
      before: ["503 SERVICE_UNAVAILABLE", "503", "closed"],
      after: ["503 SERVICE_UNAVAILABLE", "503", "closed"],
    },
  },
  {
    id: "counted-ids",
    what: "a sign-up with an address that is taken",
    config: (hook) => ({
      advanced: { database: { generateId: "serial" } },
      emailAndPassword: { enabled: true, requireEmailVerification: true },
      emailVerification: { sendVerificationEmail: hook },
    }),
    async play(stage) {
      const ids = [];
      for (const email of [ADA.email, "byron@example.com", ADA.email]) {
        const { id } = (await stage.browser().post("/sign-up/email", { ...ADA, email })).json.user;
        ids.push(/^\d+$/.test(id) ? id : `${id.length} characters`);
      }
      return ids;
    },
    peer: ["1", "2", "32 characters"],
    portcullis: ["1", "2", "3"],
  },
];

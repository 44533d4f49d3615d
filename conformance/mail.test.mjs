// Mail through a real SMTP server on loopback: encrypted both ways, signed in, and at its worst.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SMTPServer } from "smtp-server";
import { ORIGIN, SECRET, raw, selfCheck, temporaryFolder } from "./target.mjs";

const here = (name) => fileURLToPath(new URL(`testdata/${name}`, import.meta.url));
const tls = { key: readFileSync(here("mail-server.key")), cert: readFileSync(here("mail-server.pem")) };
const CREDENTIALS = { username: "portcullis", password: "a pass:word@with %letters" };
const skip = selfCheck && "better-auth sends no mail by itself";

/** An SMTP server; `mails` has what it took. `refuse(session)` may answer an error to the recipient. */
async function smtp(t, { port = 0, implicit = false, refuse, delay = 0, hang = false, silent = false } = {}) {
  const mails = [];
  const seen = { connections: 0, unencrypted: 0 };
  const server = new SMTPServer({
    ...tls,
    secure: implicit,
    // Nobody may sign in, nor say whom to write to, before the connection is encrypted.
    allowInsecureAuth: false,
    onConnect(session, done) {
      seen.connections += 1;
      if (!silent) done();
    },
    onAuth(auth, session, done) {
      const right = auth.username === CREDENTIALS.username && auth.password === CREDENTIALS.password;
      done(right ? null : new Error("wrong"), { user: "portcullis" });
    },
    onMailFrom(address, session, done) {
      if (!session.secure) seen.unencrypted += 1;
      done();
    },
    onRcptTo(address, session, done) {
      const code = refuse?.();
      done(code ? Object.assign(new Error("not now"), { responseCode: code }) : null);
    },
    onData(stream, session, done) {
      const chunks = [];
      stream.on("data", (chunk) => chunks.push(chunk));
      stream.on("end", () => {
        if (hang) return;
        setTimeout(() => {
          mails.push({
            to: session.envelope.rcptTo.map((one) => one.address),
            from: session.envelope.mailFrom.address,
            user: session.user,
            secure: session.secure,
            raw: Buffer.concat(chunks).toString("utf8"),
          });
          done();
        }, delay);
      });
    },
  });
  // What a client does to a connection is not an error of the test.
  server.on("error", () => {});
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const close = () => new Promise((resolve) => server.close(resolve));
  t.after(() => {
    server.connections.forEach((connection) => connection.close());
    return close();
  });
  return { mails, seen, port: server.server.address().port, close };
}

function command() {
  const given = process.env.PORTCULLIS_BIN;
  if (!given) throw new Error("set PORTCULLIS_BIN to the binary under test");
  return existsSync(given) ? [path.resolve(given)] : given.split(/\s+/);
}

/** Settings for people, with mail to a port. */
function settings(port, smtpOptions = {}, mail = {}) {
  return {
    baseURL: ORIGIN,
    secret: SECRET,
    database: { url: "sqlite:mail.db" },
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    mail: {
      from: "Example <auth@example.com>",
      smtp: { host: "localhost", port, caFile: here("mail-ca.pem"), timeoutSeconds: 3, ...CREDENTIALS, ...smtpOptions },
      retry: { attempts: 6, firstWaitSeconds: 1, longestWaitSeconds: 2 },
      ...mail,
    },
  };
}

const environment = () => {
  const { TEST_CLOCK, ...env } = process.env;
  return { ...env, PORTCULLIS_ENV: "production" };
};

/** Starts Portcullis in a folder, as for people. */
async function serve(t, folder, config) {
  await writeFile(path.join(folder, "config.json"), JSON.stringify(config));
  const [program, ...words] = command();
  const child = spawn(program, [...words, "--config", "config.json", "--port", "0"], {
    cwd: folder,
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  const url = await new Promise((resolve, reject) => {
    ended.then((how) => reject(new Error(`ended before it listened: ${JSON.stringify(how)}\n${stderr}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /^listening on (http:\/\/\S+)$/.exec(line);
      if (found) resolve(found[1]);
    });
  });
  const stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    return ended;
  };
  t.after(() => stop("SIGKILL"));
  const post = (route, body) =>
    raw(url, {
      method: "POST",
      path: `/api/auth${route}`,
      headers: { origin: ORIGIN, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  return { url, post, stop, stderr: () => stderr };
}

/** Runs `portcullis mail …` in a folder. */
async function mailCommand(folder, ...words) {
  const [program, ...first] = command();
  const run = promisify(execFile)(program, [...first, "--config", "config.json", "mail", ...words], {
    cwd: folder,
    env: environment(),
  });
  return (await run).stdout;
}

const ADA = { name: "Ada", email: "ada@example.com", password: "analytical engine" };

async function withAda(server) {
  const answer = await server.post("/sign-up/email", ADA);
  assert.equal(answer.status, 200, answer.text);
}

async function forgotten(server, email = ADA.email) {
  const answer = await server.post("/request-password-reset", { email, redirectTo: "/new" });
  assert.equal(answer.status, 200, answer.text);
  return answer;
}

/** Polls until something is so. */
async function until(what, seconds, check) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) assert.fail(`${what}: not after ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The parts of a mail as text, decoded. */
function parts(mail) {
  const boundary = /boundary="([^"]+)"/.exec(mail)[1];
  const all = mail.split(`--${boundary}`).slice(1, -1);
  return all.map((part) => {
    const [head, body] = [part.slice(0, part.indexOf("\r\n\r\n")), part.slice(part.indexOf("\r\n\r\n") + 4)];
    const kind = /content-type: ([^;\r]+)/i.exec(head)[1];
    const encoding = /content-transfer-encoding: (\S+)/i.exec(head)?.[1].toLowerCase();
    if (encoding === "base64") return { kind, text: Buffer.from(body, "base64").toString("utf8") };
    if (encoding !== "quoted-printable") return { kind, text: body };
    const bytes = body.replace(/=\r\n/g, "").replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
    return { kind, text: Buffer.from(bytes, "latin1").toString("utf8") };
  });
}

for (const [name, implicit] of [["STARTTLS", false], ["TLS", true]]) {
  test(`a forgotten password is mailed over ${name}, and its link works`, { skip }, async (t) => {
    const mailbox = await smtp(t, { implicit });
    const server = await serve(t, await temporaryFolder(t), settings(mailbox.port, { tls: implicit ? "tls" : "starttls" }));
    await withAda(server);
    await forgotten(server);
    await until("a mail", 15, () => mailbox.mails.length);
    const [mail] = mailbox.mails;
    assert.deepEqual([mail.to, mail.from, mail.user, mail.secure], [[ADA.email], "auth@example.com", "portcullis", true]);
    assert.equal(mailbox.seen.unencrypted, 0);
    assert.match(mail.raw, /^From: "?Example"? <auth@example\.com>\r$/m);
    assert.match(mail.raw, /^Message-ID: <[^@\s]+@example\.com>\r$/im);
    assert.match(mail.raw, /^Auto-Submitted: auto-generated\r$/m);
    const [text, html] = parts(mail.raw);
    assert.deepEqual([text.kind, html.kind], ["text/plain", "text/html"]);
    const token = /\/reset-password\/([A-Za-z0-9]{24})\?/.exec(text.text)[1];
    assert.ok(html.text.includes(token) && html.text.includes("Hello Ada,"), html.text);
    const reset = await server.post("/reset-password", { token, newPassword: "difference engine" });
    assert.equal(reset.status, 200, reset.text);
    const signedIn = await server.post("/sign-in/email", { email: ADA.email, password: "difference engine" });
    assert.equal(signedIn.status, 200);
    await until("the notice of the change", 15, () => mailbox.mails.length === 2);
    assert.ok(!server.stderr().includes(token), "no link in a log for people");
    assert.ok(!server.stderr().includes(CREDENTIALS.password));
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });
}

test("a server whose certificate nobody vouches for gets neither password nor mail", { skip }, async (t) => {
  const mailbox = await smtp(t);
  const folder = await temporaryFolder(t);
  const server = await serve(t, folder, settings(mailbox.port, { caFile: undefined }));
  await withAda(server);
  await forgotten(server);
  await until("a try", 15, () => /could not be delivered/.test(server.stderr()));
  assert.equal(mailbox.mails.length, 0);
  assert.match(await mailCommand(folder, "list"), /reset-password\t.*certificate/i);
});

test("while the mail server is down nobody waits, and the mail arrives when it is up", { skip }, async (t) => {
  const first = await smtp(t);
  await first.close();
  const server = await serve(t, await temporaryFolder(t), settings(first.port));
  await withAda(server);
  const before = Date.now();
  await forgotten(server);
  assert.ok(Date.now() - before < 2500, `${Date.now() - before} ms`);
  await until("a failed try", 15, () => /could not be delivered/.test(server.stderr()));
  const mailbox = await smtp(t, { port: first.port });
  await until("the mail", 30, () => mailbox.mails.length);
  assert.equal(mailbox.mails.length, 1);
});

test("a mail server that is slow, or says nothing at all, is nobody's wait", { skip }, async (t) => {
  for (const trouble of [{ delay: 2000 }, { silent: true }]) {
    const mailbox = await smtp(t, trouble);
    const server = await serve(t, await temporaryFolder(t), settings(mailbox.port));
    await withAda(server);
    for (const email of [ADA.email, "nobody@example.com", ADA.email]) {
      const before = Date.now();
      await forgotten(server, email);
      assert.ok(Date.now() - before < 1800, `${email}: ${Date.now() - before} ms`);
    }
    if (trouble.delay) await until("the mails", 20, () => mailbox.mails.length === 2);
    else await until("a try that took too long", 20, () => /took more than 3 s|could not be delivered/.test(server.stderr()));
    await server.stop("SIGKILL");
  }
});

test("what is refused for now is tried again; what is refused for good is given up and kept for the operator", { skip }, async (t) => {
  let codes = [451, 450];
  const mailbox = await smtp(t, { refuse: () => codes.shift() });
  const folder = await temporaryFolder(t);
  const server = await serve(t, folder, settings(mailbox.port));
  await withAda(server);
  await forgotten(server);
  await until("the mail after two refusals", 40, () => mailbox.mails.length);
  assert.equal(await mailCommand(folder, "list"), "");

  codes = [550];
  await forgotten(server);
  await until("the end of it", 15, () => /is given up/.test(server.stderr()));
  const listed = await mailCommand(folder, "list");
  assert.match(listed, /^\S+\treset-password\t\S+\ttries 1\tgiven up\t.*550/);
  assert.ok(!listed.includes("ada@"));
  assert.match(await mailCommand(folder, "retry"), /^1 mail/);
  await until("the mail after all", 15, () => mailbox.mails.length === 2);
});

test("a process that is killed between commit and sending loses no mail", { skip }, async (t) => {
  const folder = await temporaryFolder(t);
  const stuck = await smtp(t, { hang: true });
  const first = await serve(t, folder, settings(stuck.port));
  await withAda(first);
  await forgotten(first);
  assert.equal((await first.stop("SIGKILL")).signal, "SIGKILL");
  assert.equal(stuck.mails.length, 0);
  const mailbox = await smtp(t);
  await serve(t, folder, settings(mailbox.port));
  await until("the mail of the process before", 40, () => mailbox.mails.length);
  assert.equal(mailbox.mails.length, 1);
  assert.deepEqual(mailbox.mails[0].to, [ADA.email]);
});

test("a password that is wrong is the operator's to mend, and then the mail arrives", { skip }, async (t) => {
  const folder = await temporaryFolder(t);
  const mailbox = await smtp(t);
  const wrong = await serve(t, folder, settings(mailbox.port, { password: "not it" }));
  await withAda(wrong);
  await forgotten(wrong);
  await until("a failed try", 15, () => /could not be delivered/.test(wrong.stderr()));
  assert.ok(!wrong.stderr().includes("not it"));
  await wrong.stop();
  await serve(t, folder, settings(mailbox.port));
  await until("the mail", 40, () => mailbox.mails.length);
});

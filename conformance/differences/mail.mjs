// Mail: when it is sent, by whom, and what becomes of it when that fails. The servers run as they do for people: under
// the test contract Portcullis waits for most mails, as better-auth does.
import { mkdir } from "node:fs/promises";
import path from "node:path";
import Database from "better-sqlite3";
import { ADA, BROKEN, eventually, halfASecond, REFUSED, startForPeople, startHeldMail } from "../helpers.mjs";
import { readTables } from "../tables.mjs";
import { raw, selfCheck, startWebhook } from "../target.mjs";

/** As if everybody had followed their link. */
function proveAddresses(file) {
  const database = new Database(file);
  database.exec('update "user" set "emailVerified" = 1');
  database.close();
}

/** What happens where nobody delivers a mail. */
const WITHOUT_MAILER = [
  ["/sign-up/email", "200"],
  ["/sign-up/email", "200"],
  ["/change-email", "400"],
  ["/request-password-reset", "400 RESET_PASSWORD_DISABLED"],
  ["/change-password", "200"],
];

export default [
  {
    id: "mail-beside-request",
    what: "mails that take long, and addresses that nobody has",
    async alone({ t, kind, folder }) {
      const { hook, waited } = await startHeldMail(t);
      const server = await startForPeople(t, kind, folder, {
        emailAndPassword: { enabled: true, sendResetPassword: hook },
        emailVerification: { sendVerificationEmail: hook },
        user: { changeEmail: { enabled: true } },
      });
      const [ada, nobody] = [server.browser(), server.browser()];
      await server.post(ada, "/sign-up/email", ADA);
      await server.post(server.browser(), "/sign-up/email", { ...ADA, email: "byron@example.com" });
      const forgotten = (email) => () => server.post(nobody, "/request-password-reset", { email });
      const moved = (newEmail) => () => server.post(ada, "/change-email", { newEmail });
      return {
        reset: await waited(forgotten(ADA.email)),
        change: await waited(moved("lovelace@example.com")),
        halfASecond: {
          "reset for nobody": await halfASecond(forgotten("nobody@example.com")),
          "change to a taken address": await halfASecond(moved("byron@example.com")),
        },
      };
    },
    peer: {
      reset: "waits for the mail", change: "waits for the mail",
      halfASecond: { "reset for nobody": false, "change to a taken address": false },
    },
    portcullis: {
      reset: "answers", change: "answers",
      halfASecond: { "reset for nobody": true, "change to a taken address": true },
    },
  },
  {
    id: "mail-outbox",
    what: "functions that fail, and one that refuses",
    async alone({ t, kind, folder }) {
      // What the next call hears; the ones after it succeed.
      let next;
      const { url: webhook, calls } = await startWebhook(t, () => {
        const answer = next ?? { result: null };
        next = undefined;
        return answer;
      });
      const server = await startForPeople(t, kind, folder, {
        emailAndPassword: { enabled: true, sendResetPassword: { webhook } },
        emailVerification: { sendVerificationEmail: { webhook }, sendOnSignUp: false },
        mail: { from: "auth@example.com", send: { webhook }, retry: { firstWaitSeconds: 1 } },
      });
      const mails = [
        ["a link to prove an address fails", "ada@example.com", "/send-verification-email", BROKEN],
        ["it is refused", "byron@example.com", "/send-verification-email", REFUSED],
        ["a link to reset a password fails", "lovelace@example.com", "/request-password-reset", BROKEN],
      ];
      const answers = {};
      for (const [name, email, route, answer] of mails) {
        const browser = server.browser();
        await server.post(browser, "/sign-up/email", { ...ADA, email });
        const before = calls.length;
        next = answer;
        answers[name] = await server.post(browser, route, { email });
        await eventually(() => calls.length > before);
      }
      const tries = () => mails.map(([, email]) => calls.filter(({ args: [{ user }] }) => user.email === email).length);
      await eventually(() => tries()[0] > 1 && tries()[2] > 1, 8);
      return { answers, tries: tries() };
    },
    peer: {
      answers: { "a link to prove an address fails": "500", "it is refused": "409 NOT_HERE", "a link to reset a password fails": "200" },
      tries: [1, 1, 1],
    },
    portcullis: {
      answers: { "a link to prove an address fails": "200", "it is refused": "200", "a link to reset a password fails": "200" },
      tries: [2, 1, 2],
    },
  },
  {
    id: "mail-outbox",
    what: "a sign-up and a mail that does not get away",
    async alone({ t, kind, folder }) {
      const { hook, calls, waited } = await startHeldMail(t);
      const server = await startForPeople(t, kind, folder, { emailVerification: { sendVerificationEmail: hook, sendOnSignUp: true } });
      const rows = () => {
        const outbox = readTables(server.file).get("portcullisMail");
        return outbox && [...outbox.values()].map((row) => [row.kind, row.attempts]);
      };
      const seen = {};
      seen.answer = await waited(async () => {
        const answer = server.post(server.browser(), "/sign-up/email", ADA);
        await eventually(() => calls.length > 0);
        seen.outbox = rows();
        return answer;
      });
      await eventually(() => !rows()?.length);
      return { ...seen, afterwards: rows() };
    },
    peer: { answer: "waits for the mail", outbox: undefined, afterwards: undefined },
    portcullis: { answer: "answers", outbox: [["verify-email", 1]], afterwards: [] },
  },
  {
    id: "mailer",
    what: "mails without a function",
    async alone({ t, kind, folder }) {
      const seen = {};
      for (const [name, mailer] of [["a mailer", true], ["mail = false", false]]) {
        const own = path.join(folder, name);
        await mkdir(own);
        const { url: webhook, calls } = await startWebhook(t);
        const server = await startForPeople(t, kind, own, {
          emailAndPassword: { enabled: true, requireEmailVerification: true },
          user: { changeEmail: { enabled: true } },
          mail: mailer && { from: "auth@example.com", send: { webhook } },
        });
        const ada = server.browser();
        const steps = [];
        const step = async (route, body) => {
          const before = calls.length;
          const answer = await server.post(ada, route, body);
          // better-auth has called everybody before it answers.
          if (mailer && kind !== "peer" && !selfCheck) await eventually(() => calls.length > before);
          steps.push([route, answer, ...calls.slice(before).map(({ args: [mail] }) => `${mail.kind} to ${mail.to}`)]);
        };
        await step("/sign-up/email", ADA);
        await step("/sign-up/email", ADA);
        proveAddresses(server.file);
        await server.post(ada, "/sign-in/email", ADA);
        await step("/change-email", { newEmail: "lovelace@example.com" });
        await step("/request-password-reset", { email: ADA.email });
        await step("/change-password", { currentPassword: ADA.password, newPassword: "difference engine" });
        seen[name] = steps;
      }
      return seen;
    },
    peer: {
      "a mailer": WITHOUT_MAILER,
      "mail = false": WITHOUT_MAILER,
    },
    portcullis: {
      "a mailer": [
        ["/sign-up/email", "200", "verify-email to ada@example.com"],
        ["/sign-up/email", "200", "existing-user-sign-up to ada@example.com"],
        ["/change-email", "200", "change-email-confirmation to ada@example.com"],
        ["/request-password-reset", "200", "reset-password to ada@example.com"],
        ["/change-password", "200", "password-changed to ada@example.com"],
      ],
      "mail = false": WITHOUT_MAILER,
    },
  },
  {
    id: "mailer",
    what: "a reset in development, where nothing is said of mail",
    async alone({ t, kind, folder }) {
      const server = await startForPeople(t, kind, folder, {}, { NODE_ENV: "development", PORTCULLIS_ENV: "development" });
      const ada = server.browser();
      await server.post(ada, "/sign-up/email", ADA);
      const answer = await server.post(ada, "/request-password-reset", { email: ADA.email });
      const mailbox = async () => (await raw(server.url, { method: "GET", path: "/dev/mailbox" })).text;
      const shown = async () => (await mailbox()).includes("<code>reset-password</code>");
      return { answer, shown: await eventually(shown, 4) };
    },
    peer: { answer: "400 RESET_PASSWORD_DISABLED", shown: false },
    portcullis: { answer: "200", shown: true },
  },
];

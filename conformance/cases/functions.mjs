// Functions of the operator's whose values better-auth uses at once (functions.mjs): ids, fields, names.
import { named } from "../functions.mjs";
import { actors, OTHER_PASSWORD, PASSWORD } from "./actors.mjs";
import { stories } from "./family.mjs";

const credentials = (stage, more = {}) => ({ name: "Ada", email: `a${stage.number}@example.com`, password: PASSWORD, ...more });

const ids = stories([
  ["ids of one's own, up and in again", "POST /sign-in/email", async (stage) => {
    const w = await actors.known(stage);
    await w.browser.post("/sign-in/email", { email: w.email, password: PASSWORD });
  }],
  ["ids of one's own, a password is reset", "POST /reset-password", async (stage) => {
    const w = await actors.forgetful(stage);
    await w.browser.post("/reset-password", { newPassword: OTHER_PASSWORD, token: w.token });
  }],
  ["ids of one's own, a second factor", "POST /two-factor/enable", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/two-factor/enable", { password: PASSWORD });
  }],
  ["ids of one's own, a visitor", "POST /sign-in/anonymous", (stage) => stage.browser().post("/sign-in/anonymous")],
  ["ids of one's own, a token", "GET /token", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.get("/token");
  }],
]);

const fields = stories([
  ["made and judged fields", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { motto: " try again ", lucky: 12 }))],
  ["no field is given", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage))],
  ["a field is refused", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { lucky: 13 }))],
  ["a field with a default is given", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { ticket: "my own", born: "1906-12-09T00:00:00.000Z" }))],
  ["nothing for a field", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { motto: null, lucky: null, ticket: null }))],
  ["made and judged fields", "POST /update-user", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { motto: "  onwards", lucky: 4 });
    await w.browser.get("/get-session");
    await w.browser.post("/update-user", { name: "Countess" });
    await w.browser.get("/get-session");
  }],
  ["a field is refused", "POST /update-user", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { name: "Countess", lucky: "seven" });
  }],
  ["a field that is made at every update is given", "POST /update-user", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { revision: 700 });
  }],
  ["nothing for a field", "POST /update-user", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { motto: null, lucky: null });
  }],
  ["fields of the session", "POST /update-session", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-session", { device: " phone " });
    await w.browser.post("/update-session", { device: " phone ", desk: 3 });
    await w.browser.get("/get-session");
  }],
  ["fields of the session live on", "POST /change-password", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/change-password", { currentPassword: PASSWORD, newPassword: OTHER_PASSWORD });
  }],
]);

const closed = stories([
  ["a field without input, but with a function, is given", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { hidden: "mine" }))],
]);

const twice = stories([
  ["a transform that adds", "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { motto: "on" }))],
  ["a transform that adds", "POST /update-user", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { motto: "on" });
  }],
]);

const names = (name) => stories([
  [`${name}, signed up`, "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { username: `A.d.A_${stage.number}` }))],
  [`${name}, signed up with a name to show`, "POST /sign-up/email", (stage) => stage.browser().post("/sign-up/email", credentials(stage, { username: `A.d.A_${stage.number}`, displayUsername: "ada the first" }))],
  [`${name}, in with other dots`, "POST /sign-in/username", async (stage) => {
    const body = credentials(stage, { username: `ada_${stage.number}` });
    await stage.browser().post("/sign-up/email", body);
    await stage.browser().post("/sign-in/username", { username: `A.D.A._${stage.number}`, password: PASSWORD });
  }],
  [`${name}, taken with other dots`, "POST /is-username-available", async (stage) => {
    const body = credentials(stage, { username: `ada_${stage.number}` });
    await stage.browser().post("/sign-up/email", body);
    await stage.browser().post("/is-username-available", { username: `a.d.a_${stage.number}` });
  }],
  [`${name}, only dots`, "POST /is-username-available", (stage) => stage.browser().post("/is-username-available", { username: "...." })],
  [`${name}, changed`, "POST /update-user", async (stage) => {
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { username: `New.Name_${stage.number}`, displayUsername: "brand new" });
  }],
  [`${name}, changed to one that is taken`, "POST /update-user", async (stage) => {
    await stage.browser().post("/sign-up/email", credentials(stage, { username: `ada_${stage.number}` }));
    const w = await actors.member(stage);
    await w.browser.post("/update-user", { username: `a.d.a._${stage.number}` });
  }],
]);

const madeUp = stories([
  ["a made-up user", "POST /sign-up/email", async (stage) => {
    const body = credentials(stage, { motto: "on" });
    await stage.browser().post("/sign-up/email", body);
    await stage.browser().post("/sign-up/email", body);
  }],
]);

export default [
  { group: "ids of one's own",
    config: (hook) => ({
      emailAndPassword: { enabled: true, sendResetPassword: hook },
      advanced: { disableOriginCheck: false, database: { generateId: named(hook, "idOfModel") } },
      plugins: { twoFactor: {}, anonymous: {}, jwt: {}, username: {} },
    }),
    cases: ids },
  { group: "fields that are made, judged and turned",
    config: (hook) => ({
      user: {
        additionalFields: {
          motto: { type: "string", required: false, transform: { input: named(hook, "tidy") } },
          lucky: { type: "number", required: false, validator: { input: { "~standard": { version: 1, vendor: "test", validate: named(hook, "evenNumber") } } } },
          ticket: { type: "string", required: false, defaultValue: named(hook, "nextTicket") },
          hidden: { type: "string", required: false, input: false, returned: false, defaultValue: named(hook, "nextTicket") },
          born: { type: "date", required: false, defaultValue: named(hook, "eighteenFifteen") },
          revision: { type: "number", required: false, onUpdate: named(hook, "nextRevision") },
        },
      },
      session: {
        additionalFields: {
          device: { type: "string", required: false, transform: { input: named(hook, "tidy") } },
          desk: { type: "number", required: false, validator: { input: { "~standard": { version: 1, vendor: "test", validate: named(hook, "evenNumber") } } } },
          seat: { type: "string", required: false, defaultValue: named(hook, "nextTicket") },
        },
      },
    }),
    cases: fields },
  { group: "a field that no client writes", config: (hook) => ({ user: { additionalFields: { hidden: { type: "string", required: false, input: false, defaultValue: named(hook, "nextTicket") } } } }), cases: closed },
  { group: "a transform that is not the same twice", config: (hook) => ({ user: { additionalFields: { motto: { type: "string", required: false, transform: { input: named(hook, "louder") } } } } }), cases: twice },
  { group: "names of one's own making",
    config: (hook) => ({ plugins: { username: { usernameNormalization: named(hook, "withoutDots"), displayUsernameNormalization: named(hook, "onlyCapital") } } }),
    cases: names("names without dots") },
  { group: "names of one's own making, looked at afterwards",
    config: (hook) => ({ plugins: { username: { usernameNormalization: named(hook, "withoutDots"), displayUsernameNormalization: named(hook, "onlyCapital"), validationOrder: { username: "post-normalization", displayUsername: "post-normalization" } } } }),
    cases: names("names without dots, looked at afterwards") },
  { group: "a made-up user",
    config: (hook) => ({
      emailAndPassword: { enabled: true, autoSignIn: false, customSyntheticUser: named(hook, "madeUp") },
      user: { additionalFields: { motto: { type: "string", required: false } } },
      plugins: { twoFactor: {} },
    }),
    cases: madeUp },
];

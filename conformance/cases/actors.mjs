// Who asks: each builds on the one before and ends as `{browser, …facts}`.
import assert from "node:assert/strict";
import { totp } from "../codes.mjs";

export const PASSWORD = "correct horse battery";
export const OTHER_PASSWORD = "another good one";

/** Calls that set the stage must succeed. */
export async function staged(promise) {
  const answer = await promise;
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

export const actors = {
  async nobody(stage) {
    const { number } = stage;
    return { browser: stage.browser(), email: `new${number}@example.com`, username: `New_${number}` };
  },
  async member(stage) {
    const { number } = stage;
    const browser = stage.browser();
    const facts = { email: `m${number}@example.com`, username: `Member_${number}` };
    const body = { name: "Member", password: PASSWORD, ...facts };
    const { token, user } = await staged(browser.call("POST", "/sign-up/email", { body }));
    return { browser, token, user, ...facts };
  },
  /** Signed up, but asking from another browser. */
  async known(stage) {
    return { ...(await actors.member(stage)), browser: stage.browser() };
  },
  /** Three sessions in three browsers. */
  async travelling(stage) {
    const member = await actors.member(stage);
    for (const key of ["second", "third"]) {
      member[key] = stage.browser();
      const body = { email: member.email, password: PASSWORD };
      member[`${key}Token`] = (await staged(member[key].call("POST", "/sign-in/email", { body }))).token;
    }
    return member;
  },
  /** Two people in one browser, the second one active. */
  async shared(stage) {
    const member = await actors.member(stage);
    const body = { name: "Second", email: `s${stage.number}@example.com`, password: PASSWORD };
    const second = await staged(member.browser.call("POST", "/sign-up/email", { body }));
    return { ...member, secondToken: second.token };
  },
  /** TOTP asked for, not yet proven. */
  async enabling(stage) {
    const member = await actors.member(stage);
    const body = { password: PASSWORD };
    const { totpURI, backupCodes } = await staged(member.browser.call("POST", "/two-factor/enable", { body }));
    return { ...member, totpURI, backupCode: backupCodes[0] };
  },
  async secured(stage) {
    const member = await actors.enabling(stage);
    const body = { code: totp(member.totpURI, stage.now) };
    await staged(member.browser.call("POST", "/two-factor/verify-totp", { body }));
    return member;
  },
  /** The password given in another browser, the second factor not. */
  async pending(stage) {
    const member = await actors.secured(stage);
    const browser = stage.browser();
    await staged(browser.call("POST", "/sign-in/email", { body: { email: member.email, password: PASSWORD } }));
    return { ...member, browser };
  },
  async texted(stage) {
    const member = await actors.pending(stage);
    await staged(member.browser.call("POST", "/two-factor/send-otp", { body: {} }));
    return { ...member, otp: stage.hook.calls.at(-1).args[0].otp };
  },
};

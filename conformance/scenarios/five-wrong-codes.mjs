// Somebody has the password and guesses codes.
import { totp, wrongTotp } from "../codes.mjs";

const ADA = { email: "ada@example.com", password: "analytical engine" };

export default {
  title: "codes are guessed until the account is locked",
  settings: () => ({ plugins: { twoFactor: {} } }),
  async play(stage) {
    const ada = stage.browser("Ada");
    await ada.post("/sign-up/email", { name: "Ada", ...ADA });
    const { totpURI } = (await ada.post("/two-factor/enable", { password: ADA.password })).json;
    await ada.post("/two-factor/verify-totp", { code: totp(totpURI, stage.now) });
    for (const name of ["Mallory", "Mallory again"]) {
      const mallory = stage.browser(name);
      await mallory.post("/sign-in/email", ADA);
      for (let guess = 0; guess < 6; guess += 1) await mallory.post("/two-factor/verify-totp", { code: wrongTotp(totpURI, stage.now) });
    }
    const phone = stage.browser("Ada's phone");
    await phone.post("/sign-in/email", ADA);
    await phone.post("/two-factor/verify-totp", { code: totp(totpURI, stage.now) });
    stage.later(901);
    const later = stage.browser("Ada's phone, later");
    await later.post("/sign-in/email", ADA);
    await later.post("/two-factor/verify-totp", { code: totp(totpURI, stage.now) });
    await later.get("/get-session");
  },
};

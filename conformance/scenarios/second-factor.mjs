// From the first QR code to the day the phone is gone.
import { totp, wrongTotp } from "../codes.mjs";

const ADA = { email: "ada@example.com", password: "analytical engine" };

export default {
  title: "a second factor, from its set-up to a lost phone",
  settings: () => ({ appName: "Gate House", plugins: { twoFactor: {} } }),
  async play(stage) {
    const ada = stage.browser("Ada");
    await ada.post("/sign-up/email", { name: "Ada", ...ADA });
    await ada.post("/two-factor/enable", { password: "difference engine" });
    const { totpURI, backupCodes } = (await ada.post("/two-factor/enable", { password: ADA.password })).json;
    const code = () => totp(totpURI, stage.now + 1000);
    await ada.get("/get-session");
    await ada.post("/two-factor/verify-totp", { code: wrongTotp(totpURI, stage.now) });
    await ada.post("/two-factor/verify-totp", { code: code() });
    await ada.get("/get-session");

    const work = stage.browser("Ada at work");
    await work.post("/sign-in/email", ADA);
    await work.get("/get-session");
    await work.post("/two-factor/verify-totp", { code: wrongTotp(totpURI, stage.now) });
    stage.later(60);
    await work.post("/two-factor/verify-totp", { code: code(), trustDevice: true });
    await work.post("/sign-out");
    await work.post("/sign-in/email", ADA);

    const lost = stage.browser("Ada without her phone");
    await lost.post("/sign-in/email", ADA);
    await lost.post("/two-factor/verify-backup-code", { code: "aaaaa-bbbbb" });
    await lost.post("/two-factor/verify-backup-code", { code: backupCodes[2] });
    const again = stage.browser("somebody with an old list");
    await again.post("/sign-in/email", ADA);
    await again.post("/two-factor/verify-backup-code", { code: backupCodes[2] });
    await lost.post("/two-factor/disable", { password: ADA.password });
    await stage.browser("Ada with a new phone").post("/sign-in/email", ADA);
  },
};

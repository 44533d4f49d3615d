// The operator replaces the secret: cookies of before are nobody's, and what is stored sealed still opens.
import { totp } from "../codes.mjs";
import { SECRET } from "../target.mjs";

const NEW = "Lw5vH2nQ9xTz4rYc7pKd1mBs8gFj3aUe-second";
const ADA = { email: "ada@example.com", password: "analytical engine" };

export default {
  title: "the secret is replaced between two sign-ins",
  settings: (hook) => ({ emailAndPassword: { enabled: true, sendResetPassword: hook }, emailVerification: { sendVerificationEmail: hook }, plugins: { twoFactor: {}, jwt: {} } }),
  async play(stage) {
    const ada = stage.browser("Ada");
    await ada.post("/sign-up/email", { name: "Ada", ...ADA });
    const { totpURI, backupCodes } = (await ada.post("/two-factor/enable", { password: ADA.password })).json;
    await ada.post("/two-factor/verify-totp", { code: totp(totpURI, stage.now) });
    await ada.get("/token");
    await ada.post("/send-verification-email", { email: ADA.email, callbackURL: "/welcome" });
    await ada.post("/request-password-reset", { email: ADA.email });

    await stage.restart({ secret: SECRET, secrets: [{ version: 2, value: NEW }] });
    await ada.get("/get-session");
    await ada.open(stage.mail("sendVerificationEmail").url);
    await ada.post("/reset-password", { token: stage.mail("sendResetPassword").token, newPassword: ADA.password });
    await ada.post("/sign-in/email", ADA);
    stage.later(30);
    await ada.post("/two-factor/verify-totp", { code: totp(totpURI, stage.now) });
    await ada.get("/token");
    await ada.post("/two-factor/generate-backup-codes", { password: ADA.password });
    const phone = stage.browser("Ada's phone");
    await phone.post("/sign-in/email", ADA);
    await phone.post("/two-factor/verify-backup-code", { code: backupCodes[0] });
  },
};

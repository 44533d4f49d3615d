// Ada moves; the old address has to agree, the new one has to be proven, and Eve wants it as well.
export default {
  title: "a change of address that somebody else is after",
  settings: (hook) => ({
    emailVerification: { sendVerificationEmail: hook, afterEmailVerification: hook },
    user: { changeEmail: { enabled: true, sendChangeEmailConfirmation: hook } },
  }),
  async play(stage) {
    const ada = stage.browser("Ada");
    const eve = stage.browser("Eve");
    await ada.post("/sign-up/email", { name: "Ada", email: "ada@old.example", password: "analytical engine" });
    await ada.post("/send-verification-email", { email: "ada@old.example", callbackURL: "/welcome" });
    await ada.open(stage.mail("sendVerificationEmail").url);
    await ada.post("/change-email", { newEmail: "ada@new.example", callbackURL: "/moved" });
    const asked = stage.mail("sendChangeEmailConfirmation").url;
    await eve.post("/sign-up/email", { name: "Eve", email: "eve@example.com", password: "apple of knowledge" });
    await eve.open(asked);
    await ada.open(asked);
    const proof = stage.mail("sendVerificationEmail").url;
    await eve.post("/change-email", { newEmail: "ada@new.example" });
    await ada.open(proof);
    await ada.get("/get-session");
    await ada.open(proof);
    await eve.post("/change-email", { newEmail: "ada@new.example" });
    await stage.browser("Ada elsewhere").post("/sign-in/email", { email: "ada@old.example", password: "analytical engine" });
    await stage.browser("Ada elsewhere").post("/sign-in/email", { email: "ada@new.example", password: "analytical engine" });
  },
};

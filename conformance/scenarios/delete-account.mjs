// Ada leaves, and comes back under the same address.
export default {
  title: "an account is deleted by mail, and made anew",
  settings: (hook) => ({ user: { deleteUser: { enabled: true, sendDeleteAccountVerification: hook, beforeDelete: hook, afterDelete: hook } } }),
  async play(stage) {
    const ada = stage.browser("Ada");
    const phone = stage.browser("Ada's phone");
    const credentials = { email: "ada@example.com", password: "analytical engine" };
    await ada.post("/sign-up/email", { name: "Ada", ...credentials });
    await phone.post("/sign-in/email", credentials);
    await ada.post("/delete-user", { password: "difference engine" });
    await ada.post("/delete-user", { password: credentials.password, callbackURL: "/bye" });
    const { url } = stage.mail("sendDeleteAccountVerification");
    await stage.browser("a mail program").open(url);
    await phone.open(url);
    await phone.get("/get-session");
    await ada.get("/get-session");
    await ada.post("/sign-in/email", credentials);
    await ada.post("/sign-up/email", { name: "Ada again", ...credentials });
    await ada.get("/list-accounts");
  },
};

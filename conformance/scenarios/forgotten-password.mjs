// Ada has forgotten her password and has two browsers open.
export default {
  title: "a forgotten password, from the mail to the new session",
  settings: (hook) => ({
    emailAndPassword: { enabled: true, sendResetPassword: hook, onPasswordReset: hook, revokeSessionsOnPasswordReset: true },
  }),
  async play(stage) {
    const home = stage.browser("Ada at home");
    const work = stage.browser("Ada at work");
    const ada = { email: "ada@example.com", password: "analytical engine" };
    await home.client.signUp.email({ name: "Ada", ...ada });
    await work.client.signIn.email(ada);
    await work.client.signOut();
    await work.client.signIn.email({ ...ada, password: "difference engine" });
    await work.client.requestPasswordReset({ email: "ADA@example.com", redirectTo: "/new-password" });
    const { url, token } = stage.mail("sendResetPassword");
    await work.open(url);
    await work.client.resetPassword({ token, newPassword: "difference engine" });
    await work.open(url);
    await work.client.resetPassword({ token, newPassword: "jacquard's loom" });
    await home.client.getSession();
    await work.client.signIn.email(ada);
    await work.client.signIn.email({ ...ada, password: "difference engine" });
    await work.client.getSession();
  },
};

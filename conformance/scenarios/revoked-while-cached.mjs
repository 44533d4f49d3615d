// The cookie cache answers for a minute after the session has ended, and no longer.
export default {
  title: "a session is revoked while a browser still has it cached",
  settings: () => ({ session: { cookieCache: { enabled: true, maxAge: 60 } } }),
  async play(stage) {
    const ada = stage.browser("Ada");
    const thief = stage.browser("the thief");
    const credentials = { email: "ada@example.com", password: "analytical engine" };
    await ada.post("/sign-up/email", { name: "Ada", ...credentials });
    await thief.post("/sign-in/email", credentials);
    await ada.post("/revoke-other-sessions");
    await thief.get("/get-session");
    await thief.copy("the thief, past the cache").get("/get-session", { disableCookieCache: "true" });
    await thief.post("/change-password", { currentPassword: credentials.password, newPassword: "difference engine" });
    stage.later(61);
    await thief.get("/get-session");
    await thief.get("/get-session");
    await ada.get("/get-session");
  },
};

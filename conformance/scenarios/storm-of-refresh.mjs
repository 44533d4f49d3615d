// A page with many tabs wakes up after two days: one session, extended once, and everybody is still signed in.
export default {
  title: "a storm of tabs at a session that is due",
  async play(stage) {
    const ada = stage.browser("Ada");
    await ada.post("/sign-up/email", { name: "Ada", email: "ada@example.com", password: "analytical engine" });
    stage.later(2 * 86_400);
    const tabs = Array.from({ length: 16 }, (_, index) => ada.copy(`tab ${index}`));
    await stage.together(
      "the tabs",
      tabs.map((tab) => () => tab.call("GET", "/get-session", { off: true })),
      (answers) => ({
        answers: answers.map((answer) => [answer.status, answer.json.user.name, answer.json.session.expiresAt]),
        renewed: answers.some((answer) => answer.setCookies.length > 0),
      }),
    );
    await ada.get("/get-session");
    stage.later(6 * 86_400);
    await ada.get("/get-session");
  },
};

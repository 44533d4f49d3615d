// Two people share the computer in the kitchen.
export default {
  title: "two people at one computer",
  settings: () => ({ plugins: { multiSession: {}, username: {} } }),
  async play(stage) {
    const kitchen = stage.browser("the kitchen");
    const byName = { sortBy: (one) => one.user.name };
    const ada = (await kitchen.post("/sign-up/email", { name: "Ada", email: "ada@example.com", password: "analytical engine", username: "Ada_1815" })).json;
    const grace = (await kitchen.post("/sign-up/email", { name: "Grace", email: "grace@example.com", password: "first compiler", username: "amazing.grace" })).json;
    await kitchen.get("/multi-session/list-device-sessions", undefined, byName);
    await kitchen.post("/multi-session/set-active", { sessionToken: ada.token });
    await kitchen.get("/get-session");
    const eve = stage.browser("Eve");
    await eve.post("/multi-session/set-active", { sessionToken: grace.token });
    await kitchen.post("/multi-session/revoke", { sessionToken: ada.token });
    await kitchen.get("/get-session");
    await kitchen.post("/sign-in/username", { username: "ADA_1815", password: "analytical engine" });
    await kitchen.get("/multi-session/list-device-sessions", undefined, byName);
    await kitchen.post("/sign-out");
    await kitchen.get("/get-session");
  },
};

// A service believes JWTs, a script has a bearer token, and then Ada signs out.
export default {
  title: "tokens for a service and for a script",
  settings: () => ({ plugins: { jwt: {}, bearer: {} } }),
  async play(stage) {
    const ada = stage.browser("Ada");
    const script = stage.browser("a script");
    const { token } = (await ada.post("/sign-up/email", { name: "Ada", email: "ada@example.com", password: "analytical engine" })).json;
    const headers = { authorization: `Bearer ${token}`, origin: undefined };
    await ada.get("/token");
    await script.get("/jwks");
    await script.get("/get-session", undefined, { headers });
    await script.copy("a script without a jar").get("/token", undefined, { headers });
    await script.copy("a script that writes").post("/update-user", { name: "Countess" }, { headers });
    await ada.post("/sign-out");
    await stage.browser("a script, later").get("/get-session", undefined, { headers });
    await stage.browser("a script, later").get("/token", undefined, { headers });
  },
};

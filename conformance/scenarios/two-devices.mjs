// A lost phone: what is ended from the laptop is over there, and the laptop goes on.
export default {
  title: "two devices, of which one gets lost",
  settings: () => ({ session: { additionalFields: { device: { type: "string", required: false } } } }),
  async play(stage) {
    const laptop = stage.browser("the laptop");
    const phone = stage.browser("the phone");
    const ada = { email: "ada@example.com", password: "analytical engine" };
    await laptop.post("/sign-up/email", { name: "Ada", ...ada }, { headers: { "user-agent": "Laptop/1.0", "x-forwarded-for": "192.0.2.1" } });
    await phone.post("/sign-in/email", { ...ada, rememberMe: false }, { headers: { "user-agent": "Phone/1.0", "x-forwarded-for": "192.0.2.2" } });
    await phone.post("/update-session", { device: "phone" });
    const sessions = await laptop.get("/list-sessions", undefined, { sortBy: (one) => one.userAgent });
    const lost = sessions.json.find((one) => one.device === "phone");
    await laptop.post("/revoke-session", { token: lost.token });
    await phone.get("/get-session");
    await phone.post("/update-user", { name: "Thief" });
    await laptop.get("/list-sessions");
    await phone.post("/sign-in/email", ada);
    await laptop.post("/change-password", { currentPassword: ada.password, newPassword: "difference engine", revokeOtherSessions: true });
    await phone.get("/get-session");
    await laptop.get("/get-session");
    await phone.post("/sign-in/email", ada);
    const own = (await laptop.get("/get-session")).json.session.token;
    await laptop.post("/revoke-session", { token: own });
  },
};

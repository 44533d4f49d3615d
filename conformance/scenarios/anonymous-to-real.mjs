// A visitor fills a basket and signs up; another one turns out to be somebody known.
export default {
  title: "anonymous visitors become people",
  settings: (hook) => ({ plugins: { anonymous: { onLinkAccount: hook }, multiSession: {} } }),
  async play(stage) {
    const shop = stage.browser("a visitor");
    await shop.client.signIn.anonymous();
    await shop.client.getSession();
    await shop.client.signIn.anonymous();
    await shop.client.updateUser({ name: "Basket" });
    await shop.client.signUp.email({ name: "Ada", email: "ada@example.com", password: "analytical engine" });
    await shop.client.getSession();
    await shop.client.signOut();

    const cafe = stage.browser("a visitor in a café");
    await cafe.client.signIn.anonymous();
    await cafe.client.signIn.email({ email: "ada@example.com", password: "difference engine" });
    await cafe.client.getSession();
    await cafe.client.signIn.email({ email: "ada@example.com", password: "analytical engine" });
    await cafe.client.getSession();

    const shy = stage.browser("a visitor who goes");
    await shy.client.signIn.anonymous();
    await shy.client.deleteAnonymousUser();
    await shy.client.getSession();
  },
};

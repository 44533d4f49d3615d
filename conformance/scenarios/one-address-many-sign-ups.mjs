// A form is sent eight times at once: there is one Ada, and she can sign in.
const ADA = { name: "Ada", email: "ada@example.com", password: "analytical engine" };

export default {
  title: "many sign-ups with one address at once",
  async play(stage) {
    const browsers = Array.from({ length: 8 }, (_, index) => stage.browser(`form ${index}`));
    await stage.together(
      "the forms",
      browsers.map((browser) => () => browser.call("POST", "/sign-up/email", { body: ADA, off: true })),
      // Whether the others are told of the address or of a failure is chance with better-auth.
      (answers) => ({ in: answers.filter((one) => one.status === 200).length, refused: answers.filter((one) => one.status === 422).length }),
    );
    const ada = stage.browser("Ada");
    await ada.post("/sign-in/email", ADA);
    await ada.get("/list-accounts");
    await ada.post("/sign-up/email", ADA);
  },
};

// Functions of the operator's that better-auth calls without waiting for them, so that nobody can be asked over HTTP.
// The peer runs them in its own process; Portcullis asks the webhook of the test, which runs the same ones. Each server
// has its own set, so what they count is compared, too.

export function makeFunctions() {
  const counts = {};
  const next = (what) => (counts[what] = (counts[what] ?? 0) + 1);
  return {
    idOfModel: ({ model }) => `${model}-${next(model)}`,
    nextTicket: () => `ticket ${next("ticket")}`,
    nextRevision: () => next("revision"),
    eighteenFifteen: () => new Date("1815-12-10T00:00:00.000Z"),
    tidy: (value) => (typeof value === "string" ? value.trim().toUpperCase() : value),
    louder: (value) => (typeof value === "string" ? `${value}!` : value),
    withoutDots: (name) => name.toLowerCase().replaceAll(".", ""),
    onlyCapital: (name) => name.slice(0, 1).toUpperCase() + name.slice(1),
    evenNumber: (value) =>
      Number(value) % 2 === 0 ? { value: Number(value) } : { issues: [{ message: `${JSON.stringify(value)} is not even` }, { message: "and odd" }] },
    madeUp: ({ coreFields, additionalFields, id }) => ({ ...coreFields, ...additionalFields, twoFactorEnabled: false, id, name: `${coreFields.name} of nowhere` }),
  };
}

/** The function of this name, as a setting. */
export const named = (hook, name) => ({ webhook: `${hook.webhook}/${name}` });

/** Which function a URL that `named` made is for. */
export const nameIn = (url) => new URL(url, "http://test").pathname.split("/")[2];

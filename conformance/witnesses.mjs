// Sequences that show what only sequences show: for each row of deviations.mjs that is `seenIn` generated.test.mjs one
// or more. A long run prints the shortest ones that it has met (`listed:`).
const command = { password: 0, other: 0, spoil: null, bearer: null };

export const witnesses = [
  {
    id: "renewed-with-cache",
    configuration: "a cookie cache",
    people: 1,
    commands: [{ ...command, who: 0, whom: 0, call: "wait", index: 8 }, { ...command, who: 0, whom: 0, call: "vanish", index: 0 }],
  },
  {
    id: "cache-sent-once",
    configuration: "a signed cookie cache and much else",
    people: 3,
    commands: [{ ...command, who: 2, whom: 0, call: "prove", other: 1, index: 7, bearer: 2 }, { ...command, who: 0, whom: 0, call: "leave", other: 1, index: 5 }],
  },
  {
    id: "fresh-cache",
    configuration: "a signed cookie cache and much else",
    people: 3,
    commands: [{ ...command, who: 0, whom: 2, call: "prove", other: 3, index: 5 }],
  },
  {
    id: "username-in-turn",
    configuration: "as usual",
    people: 1,
    commands: [{ ...command, who: 1, whom: 0, call: "signUp", index: 3, origin: "https://evil.example" }],
  },
  {
    id: "username-in-turn",
    configuration: "as usual",
    people: 1,
    commands: ["visit", "wait", "rename"].map((call) => ({ ...command, who: 0, whom: 0, call, index: 3 })),
  },
  {
    id: "username-in-turn",
    configuration: "a cookie cache",
    people: 1,
    commands: ["visit", "wait", "rename"].map((call) => ({ ...command, who: 0, whom: 0, call, index: 3 })),
  },
  {
    id: "revoke-clears-cookies",
    configuration: "as usual",
    people: 1,
    commands: [{ ...command, who: 0, whom: 0, call: "wait", index: 3 }, { ...command, who: 0, whom: 0, call: "revokeAll", index: 0 }],
  },
  {
    id: "renewed-with-cache",
    configuration: "a cookie cache",
    people: 1,
    commands: [{ ...command, who: 0, whom: 0, call: "wait", index: 8 }, { ...command, who: 0, whom: 0, call: "move", index: 0 }],
  },
];

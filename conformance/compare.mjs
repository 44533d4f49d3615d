// Are two answers the same, but for chance and time? Every value that may differ is first recognised by
// its exact shape on both sides, and then:
//
//   random ids and tokens   one-to-one: where one side repeats an id, the other must repeat its own
//   dates, `iat`, `exp`     equally far from the moment of their answer, within a second
//   signed cookies, JWTs    the signature verifies; what is inside is compared by these rules
//   sealed columns          opened with the server's secret; what is inside is compared by these rules
//   links                   piece by piece, each by these rules
//   trusted devices         the code of authentication is that of one user, the same on both sides
//   hashes, codes, secrets  length and alphabet
//
// Everything else must be equal. The result is a list of paths at which the answers differ.
import { createHmac } from "node:crypto";
import { symmetricDecodeJWT } from "better-auth/crypto";
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { openCompactCache, openSealed, unsign } from "./codes.mjs";
import { parseSetCookie } from "./target.mjs";

const SLACK_MS = 1_000;

/** Headers of the connection, and `set-cookie`, which is looked at by itself. All others are the contract. */
const TRANSPORT = new Set(["connection", "keep-alive", "date", "transfer-encoding", "content-length", "set-cookie"]);

/** Texts that chance makes, by shape; the value says how two of them are compared. */
const SHAPES = [
  ["date", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/],
  ["jwt", /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/],
  ["jwe", /^eyJ[\w-]+\.\.[\w-]{22}\.[\w-]+\.[\w-]{43}$/],
  ["uuid", /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/],
  ["signed", /^.+\.[A-Za-z0-9+/]{43}=$/],
  ["id", /^[A-Za-z0-9]{32}$/],
  ["reset token", /^[A-Za-z0-9]{24}$/],
  ["placeholder", /^(?:temp-)?[A-Za-z0-9]{32}@[\w.-]+$/],
  ["scrypt hash", /^[0-9a-f]{32}:[0-9a-f]{128}$/],
  ["argon2id hash", /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/],
  ["sealed", /^"?(?:\$ba\$\d+\$)?(?:[0-9a-f]{2}){44,}"?$/],
  ["code", /^\d{6}$/],
  ["counted code", /^(?:\d{6}|[A-Za-z0-9_-]{43}):\d+$/],
  ["multi", /^[\w.-]+_multi-[a-z0-9]{32}$/],
  ["challenge", /^2fa-[A-Za-z0-9_-]{20}$/],
  ["trust", /^[A-Za-z0-9_-]{43}!trust-device-[A-Za-z0-9_-]{32}$/],
  ["backup code", /^[A-Za-z0-9]{5}-[A-Za-z0-9]{5}$/],
  ["otpauth", /^otpauth:\/\//],
  ["public key", /^[A-Za-z0-9_-]{43}$/],
  ["identifier", /^(?:reset-password:|delete-account-|trust-device-|2fa-otp-|2fa-attempts-)[A-Za-z0-9_!-]{20,}$/],
  ["json", /^(?:\{".*\}|\[".*"\]|\[\{".*\}\])$/],
  ["link", /^(?:https?:\/)?\/\S*$/],
];

/** What stands before the random part of a verification's identifier. */
export const PREFIX = /^(?:reset-password:|delete-account-|trust-device-|2fa-otp-2fa-|2fa-otp-|2fa-attempts-2fa-|2fa-attempts-)/;

/** What a sealed cookie cache holds. */
async function unsealed(text, side) {
  const inside = await symmetricDecodeJWT(text, side.secret, "better-auth-session");
  if (!inside) throw new Error("cannot be opened");
  return inside;
}

export const shapeOf = (text) => SHAPES.find(([, pattern]) => pattern.test(text))?.[0];

/** Is this the trust of this user's device? */
function trusts(text, user, { secret }) {
  const [mac, identifier] = text.split("!");
  return mac === createHmac("sha256", secret).update(`${user}!${identifier}`).digest("base64url");
}

/**
 * One comparison: `left` and `right` are `{secret, jwks}` of the two servers. `differences(a, b)` takes
 * two answers of `raw()`.
 */
export class Comparison {
  constructor(left, right) {
    this.sides = [left, right];
    this.forth = new Map();
    this.back = new Map();
    this.found = [];
  }

  async differences(a, b, before = "") {
    this.at = [a.at, b.at];
    this.before = before;
    this.about = b;
    await this.value("status", a.status, b.status);
    for (const name of new Set([...Object.keys(a.headers), ...Object.keys(b.headers)])) {
      if (!TRANSPORT.has(name)) await this.value(`header ${name}`, a.headers[name], b.headers[name]);
    }
    await this.body(a, b);
    await this.cookies(a.setCookies, b.setCookies);
    return this.found;
  }

  /** Two values of any kind, made at `at` milliseconds on both sides. */
  async values(before, a, b, at) {
    this.at = [at, at];
    this.before = before;
    this.about = undefined;
    await this.value("", a, b);
  }

  differ(path, a, b) {
    const difference = { path: `${this.before}${path}`, peer: a, target: b };
    // Portcullis' answer, for the rules in deviations.mjs; not printed.
    Object.defineProperty(difference, "answer", { value: this.about });
    this.found.push(difference);
  }

  /** Ids are the same when they stand for one another wherever they occur. */
  paired(path, a, b) {
    if ((this.forth.get(a) ?? b) !== b || (this.back.get(b) ?? a) !== a) return this.differ(path, a, b);
    this.forth.set(a, b);
    this.back.set(b, a);
  }

  moment(path, a, b) {
    if (Math.abs(a - this.at[0] - (b - this.at[1])) > SLACK_MS) this.differ(path, new Date(a), new Date(b));
  }

  async value(path, a, b) {
    if (typeof a === "string" && typeof b === "string") return this.text(path, a, b);
    if (typeof a === "number" && typeof b === "number") {
      if (a > 1e12 && b > 1e12) return this.moment(path, a, b);
      if (a > 1e9 && b > 1e9) return this.moment(path, a * 1000, b * 1000);
    }
    const compound = (value) => typeof value === "object" && value !== null;
    if (!compound(a) || !compound(b) || Array.isArray(a) !== Array.isArray(b)) {
      if (a !== b) this.differ(path, a, b);
      return;
    }
    if (Array.isArray(a)) {
      if (a.length !== b.length) return this.differ(`${path}.length`, a.length, b.length);
      for (const index of a.keys()) await this.value(`${path}.${index}`, a[index], b[index]);
      return;
    }
    // The order of keys is not part of the contract; their presence is.
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      if (!(key in a) || !(key in b)) this.differ(`${path}.${key}`, key in a ? a[key] : "absent", key in b ? b[key] : "absent");
      else await this.value(`${path}.${key}`, a[key], b[key]);
    }
  }

  async text(path, a, b) {
    const shape = shapeOf(a);
    if (shape !== shapeOf(b)) return this.differ(path, a, b);
    switch (shape) {
      case undefined:
        if (a !== b) this.differ(path, a, b);
        return;
      case "date":
        return this.moment(path, Date.parse(a), Date.parse(b));
      case "signed":
        return this.opened(path, a, b, (text, side) => unsign(encodeURIComponent(text), side.secret));
      case "jwt":
        return this.opened(path, a, b, (text, side) => this.signed(text, side));
      case "jwe": {
        const heads = [a, b].map((text) => decodeProtectedHeader(text));
        await this.value(`${path}.header`, ...heads);
        return this.opened(path, a, b, unsealed);
      }
      case "sealed":
        return this.opened(path, a, b, (text, side) => {
          const inside = openSealed(text.replaceAll('"', ""), side);
          if (/^[[{]/.test(inside)) return JSON.parse(inside);
          // A TOTP secret: Better Auth's generateRandomString(32).
          if (!/^[A-Za-z0-9_-]{32}$/.test(inside)) throw new Error("sealed is neither JSON nor a secret");
          return "a secret";
        });
      case "json":
        return this.opened(path, a, b, (text) => JSON.parse(text));
      case "trust": {
        // A user's, and of the same user on both sides: nobody is trusted whom the answers have not named.
        const good = [...this.forth].some(([one, other]) => trusts(a, one, this.sides[0]) && trusts(b, other, this.sides[1]));
        if (!good) this.differ(path, a, b);
        return;
      }
      case "backup code":
      case "code":
      case "scrypt hash":
      case "argon2id hash":
        // Nothing to compare beyond the shape: whether they work is for the client's tests.
        return;
      case "counted code":
        return this.value(path, ...[a, b].map((text) => text.slice(text.indexOf(":"))));
      case "placeholder": {
        const [one, other] = [a, b].map((text) => text.split("@"));
        this.paired(path, one[0], other[0]);
        return this.value(path, one[1], other[1]);
      }
      case "identifier": {
        const [one, other] = [a, b].map((text) => [PREFIX.exec(text)[0], ...text.replace(PREFIX, "").split("!")]);
        if (one[0] !== other[0] || one.length !== other.length) return this.differ(path, a, b);
        for (const index of one.keys()) {
          if (index === 0) continue;
          if (one[index].length !== other[index].length) return this.differ(path, a, b);
          this.paired(path, one[index], other[index]);
        }
        return;
      }
      case "link": {
        // The separators of RFC 3986 stay in the list and are equal, or differ.
        const [one, other] = [a, b].map((text) => text.split(/([/?&=#])/));
        if (one.length !== other.length) return this.differ(path, a, b);
        for (const [index, piece] of one.entries()) {
          if (piece !== other[index]) await this.text(path, piece, other[index]);
        }
        return;
      }
      case "otpauth": {
        const [one, other] = [a, b].map((text) => new URL(text));
        for (const url of [one, other]) {
          if (!/^[A-Z2-7]{52}$/.test(url.searchParams.get("secret"))) return this.differ(path, a, b);
          url.searchParams.set("secret", "SECRET");
        }
        if (one.href !== other.href) this.differ(path, one.href, other.href);
        return;
      }
      default:
        return this.paired(path, a, b);
    }
  }

  /** What a JWT says, verified with the secret or the published keys of its server. */
  async signed(text, side) {
    const header = decodeProtectedHeader(text);
    const key = header.alg === "HS256" ? new TextEncoder().encode(side.secret) : createLocalJWKSet(side.jwks);
    const { payload } = await jwtVerify(text, key, { currentDate: new Date(this.at[0]) });
    return { header, payload };
  }

  /** Compares what is inside two sealed values, each opened with its own server's key. */
  async opened(path, a, b, open) {
    let inside;
    try {
      inside = [await open(a, this.sides[0]), await open(b, this.sides[1])];
    } catch (error) {
      return this.differ(`${path} (${error.message})`, a, b);
    }
    await this.value(path, ...inside);
  }

  async body(a, b) {
    const json = [a, b].map((one) => one.text !== "" && `${one.headers["content-type"]}`.startsWith("application/json"));
    if (json[0] !== json[1]) return this.differ("body", a.text, b.text);
    if (json[0]) {
      let parsed;
      try {
        parsed = [a.json, b.json];
      } catch {
        return this.differ("body (not JSON)", a.text, b.text);
      }
      return this.value("body", ...parsed);
    }
    // Pages are each project's own; that there is one is the contract.
    const html = [a, b].every((one) => /^<!doctype html>/i.test(one.text));
    if (!html && a.text !== b.text) this.differ("body", a.text, b.text);
  }

  async cookies(a, b) {
    const [one, other] = [a, b].map((headers) => headers.map(parseSetCookie));
    const names = (list) => list.map((cookie) => cookie.name.replace(/_multi-[a-z0-9]{32}$/, "_multi-…")).join(" ");
    if (names(one) !== names(other)) {
      this.differ("set-cookie", names(one), names(other));
      return this.uneven(one, other);
    }
    for (const [index, cookie] of one.entries()) {
      // better-auth checks the signatures of a device's sessions side by side, so that the order in which
      // `/sign-out` clears their cookies is chance; which ones it clears is not. One that nothing has named yet
      // goes with another such one.
      const named = this.forth.get(cookie.name);
      const fits = (twin) => twin.value === "" && /_multi-/.test(twin.name) && (named ? twin.name === named : !this.back.has(twin.name));
      if (cookie.value === "" && /_multi-/.test(cookie.name) && !fits(other[index])) {
        const at = other.findIndex((twin, from) => from > index && fits(twin));
        if (at > 0) [other[index], other[at]] = [other[at], other[index]];
      }
      await this.cookie(cookie, other[index]);
    }
  }

  async cookie(cookie, twin) {
    const path = `set-cookie.${cookie.name.replace(/_multi-[a-z0-9]{32}$/, "_multi-…")}`;
    await this.text(`${path}.name`, cookie.name, twin.name);
    await this.value(`${path}.attributes`, cookie.attributes, twin.attributes);
    if (cookie.name.endsWith("session_data") && !cookie.value.includes(".") && cookie.value !== "" && twin.value !== "") {
      await this.opened(path, cookie.value, twin.value, (text, side) => openCompactCache(text, side.secret));
    } else {
      await this.text(path, decodeURIComponent(cookie.value), decodeURIComponent(twin.value));
    }
  }

  /**
   * The names are not the same, which is a difference already; the rest still counts. What both set is compared
   * (the last of a name, which a browser keeps), and what only Portcullis sets has to be what it would be elsewhere.
   */
  async uneven(one, other) {
    for (const twin of new Map(other.map((cookie) => [cookie.name, cookie])).values()) {
      if (/_multi-/.test(twin.name)) continue;
      const cookie = one.findLast(({ name }) => name === twin.name);
      if (cookie && (cookie.value === "") === (twin.value === "")) await this.cookie(cookie, twin);
      const path = `set-cookie.${twin.name}`;
      const usual = one.concat(other).find(({ name, value }) => name !== twin.name && value !== "");
      const kept = ({ attributes }) => JSON.stringify(attributes.filter(([key]) => key.toLowerCase() !== "max-age"));
      if (!cookie && usual && kept(usual) !== kept(twin)) this.differ(`${path}.attributes`, kept(usual), kept(twin));
      if (!cookie && twin.value !== "" && !/session_data\.\d+$/.test(twin.name)) {
        const side = this.sides[1];
        const value = decodeURIComponent(twin.value);
        try {
          if (!twin.name.endsWith("session_data")) unsign(twin.value, side.secret);
          else if (shapeOf(value) === "jwt") await this.signed(value, side);
          else if (shapeOf(value) === "jwe") await unsealed(value, side);
          else openCompactCache(twin.value, side.secret);
        } catch (error) {
          this.differ(`${path} (${error.message})`, undefined, twin.value);
        }
      }
    }
  }
}

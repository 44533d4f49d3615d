// Are two answers the same, but for chance and time? Every value that may differ is first recognised by
// its exact shape on both sides, and then:
//
//   random ids and tokens   one-to-one: where one side repeats an id, the other must repeat its own
//   dates, `iat`, `exp`     equally far from the moment of their answer, within two seconds
//   signed cookies, JWTs    the signature verifies; what is inside is compared by these rules
//   backup codes, secrets   length and alphabet
//
// Everything else must be equal. The result is a list of paths at which the answers differ.
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { openCompactCache, unsign } from "./codes.mjs";
import { parseSetCookie } from "./target.mjs";

const SLACK_MS = 2_000;

/** Headers that are part of the contract. */
const HEADERS = [
  "content-type", "cache-control", "pragma", "location", "allow", "www-authenticate", "set-auth-token", "set-auth-jwt",
  "access-control-expose-headers",
];

/** Texts that chance makes, by shape; the value says how two of them are compared. */
const SHAPES = [
  ["date", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/],
  ["jwt", /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/],
  ["signed", /^.+\.[A-Za-z0-9+/]{43}=$/],
  ["id", /^[A-Za-z0-9]{32}$/],
  ["multi", /^[\w.-]+\.session_token_multi-[a-z0-9]{32}$/],
  ["challenge", /^2fa-[A-Za-z0-9_-]{20}$/],
  ["trust", /^[A-Za-z0-9_-]{43}!trust-device-[A-Za-z0-9_-]{32}$/],
  ["backup code", /^[A-Za-z0-9]{5}-[A-Za-z0-9]{5}$/],
  ["otpauth", /^otpauth:\/\//],
  ["public key", /^[A-Za-z0-9_-]{43}$/],
];

const shapeOf = (text) => SHAPES.find(([, pattern]) => pattern.test(text))?.[0];

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

  async differences(a, b) {
    this.at = [a.at, b.at];
    await this.value("status", a.status, b.status);
    for (const name of HEADERS) await this.value(`header ${name}`, a.headers[name], b.headers[name]);
    await this.body(a, b);
    await this.cookies(a.setCookies, b.setCookies);
    return this.found;
  }

  differ(path, a, b) {
    this.found.push({ path, peer: a, target: b });
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
        return this.opened(path, a, b, async (text, side) => {
          const { payload } = await jwtVerify(text, createLocalJWKSet(side.jwks));
          return { header: decodeProtectedHeader(text), payload };
        });
      case "trust":
      case "backup code":
        // Nothing to compare beyond the shape: whether they work is for the client's tests.
        return;
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
    if (names(one) !== names(other)) return this.differ("set-cookie", names(one), names(other));
    for (const [index, cookie] of one.entries()) {
      const twin = other[index];
      const path = `set-cookie.${cookie.name.replace(/_multi-[a-z0-9]{32}$/, "_multi-…")}`;
      await this.text(`${path}.name`, cookie.name, twin.name);
      await this.value(`${path}.attributes`, cookie.attributes, twin.attributes);
      if (cookie.name.endsWith(".session_data") && cookie.value !== "" && twin.value !== "") {
        await this.opened(path, cookie.value, twin.value, (text, side) => openCompactCache(text, side.secret));
      } else {
        await this.text(path, decodeURIComponent(cookie.value), decodeURIComponent(twin.value));
      }
    }
  }
}

// The comparison itself: what it must not let through.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { fromBase32, totp } from "./codes.mjs";
import { Comparison } from "./compare.mjs";
import { changes } from "./tables.mjs";
import { SECRET } from "./target.mjs";

const AT = Date.parse("2026-01-01T00:00:00.000Z");
const id = (letter) => letter.repeat(32);
const sign = (value, secret = SECRET) =>
  encodeURIComponent(`${value}.${createHmac("sha256", secret).update(value).digest("base64")}`);

function answer({ status = 200, json, headers = {}, setCookies = [], at = AT } = {}) {
  return {
    at, status, setCookies, json,
    headers: { "content-type": "application/json", ...headers },
    text: json === undefined ? "" : JSON.stringify(json),
  };
}

async function differing(a, b) {
  const side = { secret: SECRET, jwks: { keys: [] } };
  return (await new Comparison(side, side).differences(answer(a), answer(b))).map((one) => one.path);
}

test("ids may differ, but must stand for one another", async () => {
  const twice = (x, y) => ({ json: { id: x, userId: y } });
  assert.deepEqual(await differing(twice(id("a"), id("a")), twice(id("b"), id("b"))), []);
  assert.deepEqual(await differing(twice(id("a"), id("a")), twice(id("b"), id("c"))), ["body.userId"]);
  assert.deepEqual(await differing(twice(id("a"), id("b")), twice(id("c"), id("c"))), ["body.userId"]);
  assert.deepEqual(await differing({ json: { id: id("a") } }, { json: { id: "b".repeat(31) } }), ["body.id"]);
});

test("dates count from their answer and may be a second apart", async () => {
  const dated = (date, at) => ({ json: { createdAt: date }, at });
  const plain = dated("2026-01-01T00:00:00.000Z", AT);
  assert.deepEqual(await differing(plain, dated("2026-01-01T00:05:00.900Z", AT + 300_000)), []);
  assert.deepEqual(await differing(plain, dated("2026-01-01T00:00:01.500Z", AT)), ["body.createdAt"]);
  assert.deepEqual(await differing(plain, dated("2026-01-01T00:00:00Z", AT)), ["body.createdAt"]);
  assert.deepEqual(await differing(plain, dated(AT, AT)), ["body.createdAt"]);
});

test("a sign-out may clear the cookies of a device in any order, but has to clear the same ones", async () => {
  const name = (letter) => `better-auth.session_token_multi-${id(letter)}`;
  const signIn = (letter) => answer({ setCookies: [`${name(letter)}=${sign(id(letter))}; Path=/`] });
  const signOut = (...letters) => answer({ setCookies: letters.map((letter) => `${name(letter)}=; Max-Age=0; Path=/`) });
  const played = async (left, right) => {
    const side = { secret: SECRET, jwks: { keys: [] } };
    const comparison = new Comparison(side, side);
    await comparison.differences(signIn("a"), signIn("b"));
    return (await comparison.differences(left, right)).map((one) => one.path);
  };
  // `c` and `d` come from before.
  assert.deepEqual(await played(signOut("a", "c"), signOut("b", "d")), []);
  assert.deepEqual(await played(signOut("c", "a"), signOut("b", "d")), []);
  assert.deepEqual(await played(signOut("a", "c"), signOut("d", "b")), []);
  const path = "set-cookie.better-auth.session_token_multi-….name";
  assert.deepEqual(await played(signOut("c", "e"), signOut("b", "d")), [path]);
  assert.deepEqual(await played(signOut("a"), signOut("d")), [path]);
});

test("a device is trusted for the user of the answer, on both sides", async () => {
  const trust = (user, secret = SECRET) => {
    const identifier = `trust-device-${id("d")}`;
    return sign(`${createHmac("sha256", secret).update(`${user}!${identifier}`).digest("base64url")}!${identifier}`);
  };
  const answer = (user, cookie) => ({ json: { user: { id: user } }, setCookies: [`t=${cookie}; Path=/`] });
  const left = answer(id("a"), trust(id("a")));
  assert.deepEqual(await differing(left, answer(id("b"), trust(id("b")))), []);
  assert.deepEqual(await differing(left, answer(id("b"), trust(id("a")))), ["set-cookie.t"]);
  assert.deepEqual(await differing(left, answer(id("b"), trust(id("b"), "another"))), ["set-cookie.t"]);
});

test("a missing, an extra and another value are differences, each at its path", async () => {
  assert.deepEqual(await differing({ json: { a: { b: 1 } } }, { json: { a: {} } }), ["body.a.b"]);
  assert.deepEqual(await differing({ json: {} }, { json: { a: null } }), ["body.a"]);
  assert.deepEqual(await differing({ json: { a: [1, 2] } }, { json: { a: [1] } }), ["body.a.length"]);
  assert.deepEqual(await differing({ json: { a: [1] } }, { json: { a: { 0: 1 } } }), ["body.a"]);
  assert.deepEqual(await differing({ json: null }, { json: {} }), ["body"]);
  assert.deepEqual(await differing({ status: 401 }, { status: 403 }), ["status"]);
  assert.deepEqual(
    await differing({ headers: { "cache-control": "no-store" } }, {}),
    ["header cache-control"],
  );
});

test("cookies keep their order, their attributes in order, and a signature that verifies", async () => {
  const one = `a=${sign(id("x"))}; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax`;
  const twin = `a=${sign(id("y"))}; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax`;
  const jar = (...setCookies) => ({ setCookies });
  assert.deepEqual(await differing(jar(one), jar(twin)), []);
  assert.deepEqual(await differing(jar(one), jar(`a=${sign(id("y"), "another secret")}; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax`)).then((paths) => paths.length), 1);
  assert.deepEqual(await differing(jar(one), jar(twin.replace("; HttpOnly", ""))), ["set-cookie.a.attributes.length"]);
  assert.deepEqual(
    await differing(jar(one), jar(twin.replace("Path=/; HttpOnly", "HttpOnly; Path=/"))).then((paths) => paths.length > 0),
    true,
  );
  assert.deepEqual(await differing(jar(one, "b=; Path=/"), jar("b=; Path=/", twin)), ["set-cookie"]);
});

test("TOTP codes are those of RFC 6238", () => {
  // RFC 6238 appendix B, SHA-1, the last six of eight digits; the secret is "12345678901234567890".
  const uri = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  assert.equal(fromBase32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").toString(), "12345678901234567890");
  assert.equal(totp(uri, 59_000), "287082");
  assert.equal(totp(uri, 1_111_111_109_000), "081804");
  assert.equal(totp(uri, 20_000_000_000_000), "353130");
});

test("links are compared piece by piece, and stored values by what is in them", async () => {
  const link = (token, rest = "&callbackURL=%2Fnew") => ({ json: { url: `http://localhost:3000/api/auth/reset-password/${token}?a=1${rest}` } });
  const [one, other] = ["a".repeat(24), "b".repeat(24)];
  assert.deepEqual(await differing(link(one), link(other)), []);
  assert.deepEqual(await differing(link(one), link("b".repeat(23))), ["body.url"]);
  assert.deepEqual(await differing(link(one), link(other, "&callbackURL=%2Fold")), ["body.url"]);
  assert.deepEqual(await differing(link(one), link(other, "")), ["body.url"]);
  const scrypt = `${"0".repeat(32)}:${"f".repeat(128)}`;
  assert.deepEqual(await differing({ json: { password: scrypt } }, { json: { password: scrypt.replaceAll("f", "e") } }), []);
  assert.deepEqual(await differing({ json: { password: scrypt } }, { json: { password: scrypt.slice(1) } }), ["body.password"]);
  assert.deepEqual(await differing({ json: { value: "123456:0" } }, { json: { value: "654321:1" } }), ["body.value"]);
  assert.deepEqual(await differing({ json: { identifier: `reset-password:${one}` } }, { json: { identifier: `reset-password:${other}` } }), []);
  assert.deepEqual(await differing({ json: { identifier: `reset-password:${one}` } }, { json: { identifier: `2fa-otp-${other}` } }), ["body.identifier"]);
  const sealed = "ab".repeat(60);
  assert.equal((await differing({ json: { secret: sealed } }, { json: { secret: sealed } })).length, 1, "nobody can open it");
});

test("any header counts, but for those of the connection", async () => {
  assert.deepEqual(await differing({ headers: { "x-new": "1" } }, {}), ["header x-new"]);
  assert.deepEqual(await differing({ headers: { date: "now", connection: "close" } }, {}), []);
});

test("rows count: added, changed and removed ones, of any table", () => {
  const tables = (rows) => new Map([["user", new Map(rows.map((row) => [row.id, row]))]]);
  const [ada, eve] = [{ id: "1", name: "Ada" }, { id: "2", name: "Eve" }];
  const counts = (before, now) => Object.values(changes(tables(before), tables(now)).user).map((list) => list.length);
  assert.deepEqual(counts([ada], [ada]), [0, 0, 0]);
  assert.deepEqual(counts([ada], [ada, eve]), [1, 0, 0]);
  assert.deepEqual(counts([ada], [{ ...ada, name: "ADA" }]), [0, 1, 0]);
  assert.deepEqual(counts([ada, eve], [eve]), [0, 0, 1]);
});

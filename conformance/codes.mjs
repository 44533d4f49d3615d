// The cryptography of these tests, written from the RFCs and not taken from either server. Node has no
// XChaCha20 (draft-irtf-cfrg-xchacha), so that one comes from @noble/ciphers.
import { createHash, createHmac } from "node:crypto";
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { SECRET } from "./target.mjs";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** RFC 4648 §6, without padding. */
export function fromBase32(text) {
  let bits = 0;
  let value = 0;
  const bytes = [];
  for (const letter of text) {
    const digit = BASE32.indexOf(letter);
    if (digit < 0) throw new Error(`${letter} is not base32`);
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
    }
  }
  return Buffer.from(bytes);
}

/** RFC 6238 over RFC 4226 with HMAC-SHA-1 and six digits, from an `otpauth://` URI. */
export function totp(uri, now = Date.now()) {
  const key = fromBase32(new URL(uri).searchParams.get("secret"));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(now / 30_000)));
  const digest = createHmac("sha1", key).update(counter).digest();
  const offset = digest[19] & 0xf;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/** A code that none of the accepted steps, nor the ones around them, has. */
export function wrongTotp(uri, now = Date.now()) {
  const right = [-2, -1, 0, 1, 2].map((step) => totp(uri, now + step * 30_000));
  return ["000000", "111111", "222222", "333333", "444444", "555555"].find((code) => !right.includes(code));
}

/** Value of a signed cookie as it stands in the header, or an error that says what is wrong with it. */
export function unsign(encoded, secret = SECRET) {
  const text = decodeURIComponent(encoded);
  const at = text.lastIndexOf(".");
  if (at < 1) throw new Error(`not a signed cookie: ${text}`);
  const value = text.slice(0, at);
  if (createHmac("sha256", secret).update(value).digest("base64") !== text.slice(at + 1)) {
    throw new Error(`the signature of ${value} does not verify`);
  }
  return value;
}

/** The compact cookie cache, verified: `{session, user, updatedAt, version, expiresAt}`. */
export function openCompactCache(encoded, secret = SECRET) {
  const { session: payload, expiresAt, signature } = JSON.parse(
    Buffer.from(decodeURIComponent(encoded), "base64url").toString("utf8"),
  );
  const expected = createHmac("sha256", secret)
    .update(JSON.stringify({ ...payload, expiresAt }))
    .digest("base64url");
  if (signature !== expected) throw new Error("the signature of the cookie cache does not verify");
  return { ...payload, expiresAt };
}

/**
 * What a server keeps encrypted: `$ba$VERSION$` or nothing, then hex of nonce and XChaCha20-Poly1305 under SHA-256
 * of the secret of that version. `sealing` has the secrets by version, and `none`.
 */
export function openSealed(text, { sealing }) {
  const version = /^\$ba\$(\d+)\$/.exec(text);
  const bytes = Buffer.from(text.slice(version?.[0].length ?? 0), "hex");
  const key = createHash("sha256").update(sealing[version?.[1] ?? "none"]).digest();
  return Buffer.from(xchacha20poly1305(key, bytes.subarray(0, 24)).decrypt(bytes.subarray(24))).toString("utf8");
}

// The nine cases that every service behind an auth server has to get right, at both APIs.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startStack } from "./servers.mjs";

const PASSWORD = "plum-orbit-lantern-42";

for (const [api, keys] of [
  ["tasks-fastapi", "JWKS"],
  ["tasks-fastapi", "HS256"],
  ["tasks-axum", "JWKS"],
  ["tasks-axum", "HS256"],
]) {
  describe(`${api}, tokens by ${keys}`, () => {
    let stack;
    /** Answers of sign-up. */
    let ada, grace;

    const post = async (path, body, headers = {}) => {
      const answer = await fetch(new URL(path, stack.authUrl), {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, json: text ? JSON.parse(text) : undefined };
    };

    const ask = async (path, token, { method = "GET", body } = {}) => {
      const answer = await fetch(new URL(path, stack.apiUrl), {
        method,
        headers: { ...(token && { authorization: `Bearer ${token}` }), ...(body && { "content-type": "application/json" }) },
        body: body && JSON.stringify(body),
      });
      return { status: answer.status, headers: answer.headers, json: await answer.json() };
    };

    before(async () => {
      stack = await startStack(api, { keys });
    });
    after(() => stack?.stop());

    it("1. sign-up", async () => {
      const answer = await post("/api/auth/signup", { name: "Ada", email: "ada@example.com", password: PASSWORD });
      assert.equal(answer.status, 201, JSON.stringify(answer.json));
      ada = answer.json;
      assert.equal(ada.token_type, "bearer");
      assert.equal(ada.user.email, "ada@example.com");
      assert.ok(ada.refresh_token && ada.expires_in > 0);
      grace = (await post("/api/auth/signup", { name: "Grace", email: "grace@example.com", password: PASSWORD })).json;
      assert.notEqual(grace.user.id, ada.user.id);
    });

    it("2. an address that is taken → 409", async () => {
      const answer = await post("/api/auth/signup", { name: "Eve", email: "ADA@example.com", password: PASSWORD });
      assert.equal(answer.status, 409, JSON.stringify(answer.json));
    });

    it("3. a weak password → 422", async () => {
      for (const password of ["short", "password123"]) {
        const answer = await post("/api/auth/signup", { name: "Eve", email: "eve@example.com", password });
        assert.equal(answer.status, 422, `${password}: ${JSON.stringify(answer.json)}`);
      }
      // And no account that nobody can open.
      assert.equal((await post("/api/auth/signin", { email: "eve@example.com", password: "short" })).status, 401);
    });

    it("4. sign-in gives a JWT that the API takes", async () => {
      const answer = await post("/api/auth/signin", { email: "ada@example.com", password: PASSWORD });
      assert.equal(answer.status, 200, JSON.stringify(answer.json));
      const [header, payload] = answer.json.access_token.split(".").map((part) => Buffer.from(part, "base64url"));
      assert.equal(JSON.parse(header).alg, keys === "HS256" ? "HS256" : "EdDSA");
      const claims = JSON.parse(payload);
      assert.equal(claims.sub, ada.user.id);
      assert.equal(claims.iss, stack.origin);
      assert.deepEqual([claims.aud].flat(), [stack.origin]);
      assert.equal(claims.exp - claims.iat, 15 * 60);
      assert.deepEqual((await ask("/api/v1/tasks", answer.json.access_token)).json, []);
    });

    it("5. a wrong password, or nobody's address → 401", async () => {
      const wrong = await post("/api/auth/signin", { email: "ada@example.com", password: "not-the-password" });
      const nobody = await post("/api/auth/signin", { email: "nobody@example.com", password: "not-the-password" });
      assert.equal(wrong.status, 401);
      assert.deepEqual([nobody.status, nobody.json], [wrong.status, wrong.json], "the two cannot be told apart");
    });

    it("6. no token → 401", async () => {
      const answer = await ask("/api/v1/tasks");
      assert.equal(answer.status, 401);
      assert.match(answer.headers.get("www-authenticate"), /^Bearer/);
      assert.deepEqual(answer.json, { detail: "Missing or invalid authorization header" });
      // A session's token is none, nor is its cookie.
      const signIn = await fetch(new URL("/api/auth/sign-in/email", stack.authUrl), {
        method: "POST",
        headers: { "content-type": "application/json", origin: stack.origin },
        body: JSON.stringify({ email: "ada@example.com", password: PASSWORD }),
      });
      const opaque = await ask("/api/v1/tasks", (await signIn.json()).token);
      assert.deepEqual([opaque.status, opaque.json], [401, { detail: "Invalid token" }]);
      const cookie = signIn.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ");
      assert.ok(cookie.includes("session_token="));
      assert.equal((await fetch(new URL("/api/v1/tasks", stack.apiUrl), { headers: { cookie } })).status, 401);
      // Neither is anything else that is not signed by the auth server.
      const forged = ada.access_token.replace(/[^.]+$/, (signature) => Buffer.from(signature, "base64url").reverse().toString("base64url"));
      const bent = await ask("/api/v1/tasks", forged);
      assert.deepEqual([bent.status, bent.json], [401, { detail: "Invalid token" }]);
    });

    it("7. an expired token → 401", async () => {
      const late = await stack.expired();
      const answer = await fetch(`${late.url}/api/auth/sign-in/email`, {
        method: "POST",
        headers: { "content-type": "application/json", origin: stack.origin },
        body: JSON.stringify({ email: "ada@example.com", password: PASSWORD }),
      });
      assert.equal(answer.status, 200);
      const cookie = answer.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ");
      const { token } = await (await fetch(`${late.url}/api/auth/token`, { headers: { cookie } })).json();
      const refused = await ask("/api/v1/tasks", token);
      assert.equal(refused.status, 401);
      assert.match(refused.headers.get("www-authenticate"), /^Bearer/);
      assert.deepEqual(refused.json, { detail: "Token expired" });
    });

    it("8. another user's resource → 403", async () => {
      const task = await ask("/api/v1/tasks", ada.access_token, { method: "POST", body: { title: "Ada's own" } });
      assert.equal(task.status, 201, JSON.stringify(task.json));
      for (const path of ["todos", `todos/${task.json.id}`, "profile"]) {
        const answer = await ask(`/api/users/${ada.user.id}/${path}`, grace.access_token);
        assert.equal(answer.status, 403, path);
        assert.deepEqual(answer.json, { detail: "You can only access your own resources" }, path);
      }
      // Where no path says whose it is, it is as if it were not there.
      assert.equal((await ask(`/api/v1/tasks/${task.json.id}`, grace.access_token)).status, 404);
      assert.deepEqual((await ask("/api/v1/tasks", grace.access_token)).json, []);
      // And nobody can write it under somebody else's name.
      const body = { title: "Slipped in", user_id: ada.user.id };
      assert.equal((await ask("/api/v1/tasks", grace.access_token, { method: "POST", body })).status, 422);
    });

    it("9. one's own resource → 200", async () => {
      const list = await ask(`/api/users/${ada.user.id}/todos`, ada.access_token);
      assert.equal(list.status, 200);
      assert.deepEqual(list.json.map(({ title, user_id }) => ({ title, user_id })), [{ title: "Ada's own", user_id: ada.user.id }]);
      const one = await ask(`/api/users/${ada.user.id}/todos/${list.json[0].id}`, ada.access_token);
      assert.deepEqual([one.status, one.json], [200, list.json[0]]);
      const profile = await ask(`/api/users/${ada.user.id}/profile`, ada.access_token);
      assert.deepEqual([profile.status, profile.json.email], [200, "ada@example.com"]);
    });
  });
}

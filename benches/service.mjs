// The service of src/bin/service.rs as it is written for Node, with jose: node service.mjs ORIGIN JWKS_URL
import { createServer } from "node:http";
import { createRequire } from "node:module";

// The packages of the conformance suite, by its lockfile.
const { createRemoteJWKSet, jwtVerify } = await import(createRequire(new URL("../conformance/package.json", import.meta.url)).resolve("jose"));
const [origin, url] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url));

const server = createServer(async (request, response) => {
  const answer = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  if (request.url !== "/me") return answer(200, "ok");
  try {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    const { payload } = await jwtVerify(token, keys, { issuer: origin, audience: origin });
    answer(200, { email: payload.email });
  } catch {
    answer(401, { detail: "Invalid token" });
  }
});
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));

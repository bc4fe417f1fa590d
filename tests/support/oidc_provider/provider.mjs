// A real OpenID Connect provider for one client, as a process: `node provider.mjs LIBRARY SETTINGS`, where LIBRARY is the file of
// `oidc-provider` and SETTINGS a JSON object.
// Whoever signs in is the e-mail address that they type; any password is right. It prints its issuer when it serves.
import { createServer } from "node:http";

const { default: Provider } = await import(process.argv[2]);
const { client_id, client_secret, redirect_uri, groups } = JSON.parse(process.argv[3]);

const server = createServer((request, response) => handle(request, response));
server.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
  pkce: { required: () => true },
  scopes: ["openid", "email", "profile"],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["groups"] },
  cookies: { keys: ["only for tests"] },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: id, email_verified: !id.startsWith("unverified"), groups: groups ?? [] }),
  }),
});
const handle = provider.callback();
console.log(`serving ${issuer}`);

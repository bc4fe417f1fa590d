// Signing in by the organization's own provider: to the login host and back, with a code behind `#` that this page alone can use.
import { get, post } from "./api.js";
import { begin } from "./session.js";

/** The origin from which people may sign in; null where nobody can. */
export const ORIGIN = document.querySelector("meta[name=sign-in]")?.content ?? null;

/** The code that the browser came back with, once; null where it has none. It leaves the address, and so the history. */
export function takeCode() {
  if (!location.hash.startsWith("#code=")) return null;
  const code = location.hash.slice("#code=".length);
  history.replaceState(null, "", location.pathname);
  return code;
}

/** The organization that the address asks for. It only fills in the form: a person presses the button. */
export const asked = () => new URLSearchParams(location.search).get("organization") ?? "";

/** Leave for the organization's provider. */
export function start(slug) {
  location.assign(`${ORIGIN}/console/login?${new URLSearchParams({ organization: slug })}`);
}

/** Begin the session that the code is for. Raises ApiError. */
export async function finish(code) {
  const { token } = (await post("/api/v1/console/session", { code }, { credentials: "same-origin" })).data;
  begin(token, (await get("/api/v1/whoami", { key: token })).data);
}

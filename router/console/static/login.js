// The login by API key.
import { h } from "./lib/dom.js";
import { begin } from "./lib/session.js";
import { ApiError, get } from "./lib/api.js";
import { form } from "./lib/form.js";

/** The page; `reason` is why somebody is here again. */
export function login(reason) {
  document.title = "Log in – MIOSA console";
  return h(
    "main",
    { class: "login" },
    h("h1", null, "MIOSA console"),
    reason !== null && h("div", { class: "notice warn", role: "status" }, h("p", null, reason)),
    form({
      fields: [
        {
          name: "key",
          label: "API key",
          kind: "password",
          required: true,
          hint: "It stays in this page's memory: a reload or a new tab asks again.",
        },
      ],
      action: "Log in",
      submit: async ({ key }) => {
        const plain = key.trim();
        if (!/^[\x21-\x7e]+$/.test(plain)) throw wrong("has characters that no key has");
        try {
          begin(plain, (await get("/api/v1/whoami", { key: plain })).data);
        } catch (error) {
          if (error.status === 401) throw wrong("is not valid: check that it is whole, and not revoked or expired");
          throw error;
        }
      },
    }),
    h("p", { class: "muted small" }, "Keys are made under “API keys” in this console, by the API, or by your operator with ", h("code", null, "miosa-router keys create"), "."),
    h("p", { class: "small" }, h("a", { href: "/docs" }, "API documentation")),
  );
}

function wrong(message) {
  return new ApiError({ status: 401, code: "unauthorized", message, fields: { key: [message] } });
}

// The login: by the organization's provider where that is possible, and by API key.
import { h } from "./lib/dom.js";
import { begin } from "./lib/session.js";
import { ApiError, get } from "./lib/api.js";
import { form } from "./lib/form.js";
import { ORIGIN, asked, start } from "./lib/sign_in.js";

/** The page; `reason` is why somebody is here again. */
export function login(reason) {
  document.title = "Log in – MIOSA console";
  return h(
    "main",
    { class: "login" },
    h("h1", null, "MIOSA console"),
    reason !== null && h("div", { class: "notice warn", role: "status" }, h("p", null, reason)),
    ORIGIN !== null && organization(),
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
      kind: ORIGIN === null ? "primary" : "secondary",
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

function organization() {
  return [
    form({
      fields: [
        {
          name: "organization",
          label: "Organization",
          required: true,
          value: asked(),
          hint: "Its short name, as in “acme”. You sign in by your organization's own login, where it allows that.",
          autocomplete: "organization",
        },
      ],
      action: "Sign in",
      submit: async ({ organization: slug }) => {
        if (!/^[a-z0-9-]{1,80}$/i.test(slug)) {
          throw new ApiError({ status: 422, code: "validation_failed", message: "", fields: { organization: ["has lower-case letters, digits and hyphens only"] } });
        }
        start(slug.toLowerCase());
      },
    }),
    h("p", { class: "muted" }, "Or by an API key:"),
  ];
}

function wrong(message) {
  return new ApiError({ status: 401, code: "unauthorized", message, fields: { key: [message] } });
}

// The form of a webhook, for a new one and for changes.
import { form } from "./form.js";

const TYPES = [
  ["*", "Everything"],
  ["domain.*", "Domains"],
  ["preview_domain.*", "Preview domains"],
  ["certificate.*", "Certificates"],
  ["delegation.*", "Delegations"],
  ["deployment.*", "Deployments"],
  ["tenant.*", "Account"],
];

/** `scopes` are choices of what it may hear of; empty where there is none. `submit(body)` gets what the API takes. */
export function webhookForm({ hook, scopes, close, action, submit }) {
  const known = new Set(TYPES.map(([type]) => type));
  const chosen = hook?.event_types ?? ["*"];
  return form({
    fields: [
      { name: "url", label: "URL", kind: "url", required: true, value: hook?.url ?? "", placeholder: "https://hooks.example.com/miosa", hint: "https, at a public address." },
      { name: "description", label: "What it is for", value: hook?.description ?? "" },
      { name: "event_types", label: "Events", kind: "checkboxes", options: TYPES, value: chosen },
      { name: "others", label: "Other events", value: chosen.filter((type) => !known.has(type)).join(", "), placeholder: "domain.verified, certificate.failed", hint: "Exact types, separated by commas." },
      ...(hook === null && scopes.length > 0 ? [{ name: "scope", label: "Hears of", kind: "select", value: "", options: [["", "Everything that this key reaches"], ...scopes] }] : []),
      ...(hook === null ? [] : [{ name: "enabled", label: "Send events", kind: "checkbox", value: hook.enabled }]),
    ],
    aliases: { events: "event_types", workspace_id: "scope", project_id: "scope" },
    action,
    cancel: () => close(),
    submit: ({ url, description, event_types: types, others, scope = "", enabled }) => {
      const [kind, id] = scope.split(":");
      return submit({
        url,
        description,
        event_types: [...types, ...others.split(",").map((type) => type.trim()).filter((type) => type !== "")],
        ...(id === undefined ? {} : { [`${kind}_id`]: id }),
        ...(enabled === undefined ? {} : { enabled }),
      });
    },
  });
}

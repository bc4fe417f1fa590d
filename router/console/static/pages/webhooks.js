// Webhooks: the list, and making one.
import { h } from "../lib/dom.js";
import { get, post } from "../lib/api.js";
import { badge, moment } from "../lib/format.js";
import { copyable, writeButton } from "../lib/feedback.js";
import { dialog, showOnce } from "../lib/dialog.js";
import { emptyState, pagedList, table } from "../lib/table.js";
import { everything } from "../lib/places.js";
import { navigate, to } from "../lib/router.js";
import { webhookForm } from "../lib/webhook_form.js";

export async function render({ signal, who }) {
  const places = await everything(signal);
  const list = pagedList({
    noun: "webhooks",
    load: ({ page }) => get("/api/v1/webhooks", { query: { page }, signal }),
    show: (rows) => table({ caption: "Webhooks", columns, rows }),
    empty: () => emptyState({ title: "No webhooks", text: "A webhook sends events, such as a verified domain or a failed certificate, to a URL of yours. Each POST is signed.", action: writeButton("Create your first webhook", create, { kind: "primary" }) }),
  });
  const columns = [
    { title: "URL", kind: "wide", cell: (hook) => [h("a", { href: to("/webhooks/:id", hook) }, hook.url), hook.description !== "" && h("div", { class: "muted small" }, hook.description)] },
    { title: "Events", cell: (hook) => hook.event_types.map((type) => [h("code", null, type), " "]) },
    { title: "Hears of", cell: (hook) => (hook.project_id !== null ? places.scope(`project:${hook.project_id}`) : hook.workspace_id !== null ? places.scope(`workspace:${hook.workspace_id}`) : "all that its key reached") },
    { title: "State", cell: (hook) => badge(hook.enabled ? "enabled" : "off") },
    { title: "Created", kind: "short", cell: (hook) => moment(hook.created_at) },
  ];

  async function create() {
    const scopes = who.project === null ? places.scopes.filter(([scope]) => scope !== "tenant") : [];
    const made = await dialog({
      title: "Create a webhook",
      body: (close) => webhookForm({ hook: null, scopes, close, action: "Create webhook", submit: async (body) => close((await post("/api/v1/webhooks", body)).data) }),
    });
    if (made === null) return;
    await showOnce({ title: "Webhook created", text: "The secret that each POST is signed with:", secret: made.secret, what: "the secret", copyable });
    navigate("/webhooks/:id", made);
  }

  await list.reload();
  return [
    h("div", { class: "spread" }, h("h1", null, "Webhooks"), writeButton("Create webhook", create, { kind: "primary" })),
    h("p", { class: "lead" }, "Events go to your URLs within seconds, and again for a day where nobody answers."),
    list.node,
  ];
}

// Log drains: the list, and making one.
import { h } from "../lib/dom.js";
import { get, post } from "../lib/api.js";
import { badge, moment, number } from "../lib/format.js";
import { copyable, writeButton } from "../lib/feedback.js";
import { dialog, showOnce } from "../lib/dialog.js";
import { emptyState, pagedList, table } from "../lib/table.js";
import { navigate, to } from "../lib/router.js";
import { logDrainForm } from "../lib/log_drain_form.js";

export async function render({ signal }) {
  const list = pagedList({
    noun: "log drains",
    load: ({ page }) => get("/api/v1/log-drains", { query: { page }, signal }),
    show: (rows) => table({ caption: "Log drains", columns, rows }),
    empty: () => emptyState({ title: "No log drains", text: "A log drain sends a record of each request on to where you keep logs, by HTTPS or syslog.", action: writeButton("Create your first log drain", create, { kind: "primary" }) }),
  });
  const columns = [
    { title: "Name", cell: (drain) => h("a", { href: to("/log-drains/:id", drain) }, drain.name) },
    { title: "URL", kind: "wide", cell: (drain) => h("span", { class: "muted small" }, drain.url) },
    { title: "State", cell: (drain) => health(drain) },
    { title: "Sent", kind: "number", cell: (drain) => number(drain.delivered) },
    { title: "Lost", kind: "number", cell: (drain) => number(drain.lost) },
    { title: "Last try", kind: "short", cell: (drain) => (drain.last_at === null ? h("span", { class: "muted" }, "nothing yet") : moment(drain.last_at)) },
  ];

  async function create() {
    const made = await dialog({
      title: "Create a log drain",
      body: (close) => logDrainForm({ drain: null, close, action: "Create log drain", submit: async (body) => close((await post("/api/v1/log-drains", body)).data) }),
    });
    if (made === null) return;
    if (made.kind === "http") await showOnce({ title: "Log drain created", text: "The secret that each batch is signed with:", secret: made.secret, what: "the secret", copyable });
    navigate("/log-drains/:id", made);
  }

  await list.reload();
  return [
    h("div", { class: "spread" }, h("h1", null, "Log drains"), writeButton("Create log drain", create, { kind: "primary" })),
    h("p", { class: "lead" }, "Records of requests go to your log service within seconds; where it is away, for as long as they are kept."),
    list.node,
  ];
}

/** How a drain does, as badges. */
export function health(drain) {
  if (drain.state === "paused") return badge("paused");
  return drain.failures > 0 ? badge("failing", "failing", "bad") : badge("active", "active", "good");
}

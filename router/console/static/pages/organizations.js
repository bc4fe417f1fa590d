// All organizations of the platform, for its operators: to read.
import { h } from "../lib/dom.js";
import { get } from "../lib/api.js";
import { copyable } from "../lib/feedback.js";
import { badge, moment } from "../lib/format.js";
import { emptyState, pagedList, table } from "../lib/table.js";

export async function render({ signal }) {
  const list = pagedList({
    noun: "organizations",
    load: ({ page }) => get("/api/v1/platform/tenants", { query: { page, page_size: 50 }, signal }),
    show: (rows) => table({ caption: "Organizations", columns: COLUMNS, rows }),
    empty: () => emptyState({ title: "No organizations", text: "Each customer is one. Make the first with “miosa-router tenants create NAME”, and a key for it with “miosa-router keys create”." }),
  });
  await list.reload();
  return [h("h1", null, "Organizations"), h("p", { class: "lead" }, "All customers of the platform, the oldest first. To see one's resources and domains, log in with a key of theirs."), list.node];
}

const COLUMNS = [
  { title: "Name", cell: (one) => one.name },
  { title: "Slug", cell: (one) => h("code", null, one.slug) },
  { title: "State", kind: "short", cell: (one) => (one.suspended ? badge("suspended") : badge("active")) },
  { title: "Plan", kind: "short", cell: (one) => one.plan },
  { title: "Made", kind: "short", cell: (one) => moment(one.created_at) },
  { title: "Id", kind: "wide", cell: (one) => copyable(one.id, `id of ${one.name}`) },
];

// The first page: where to begin, and what is newest.
import { h } from "../lib/dom.js";
import { get } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { emptyState, pagedList, table } from "../lib/table.js";

export async function render({ signal, who }) {
  const events = pagedList({
    noun: "events",
    cursors: true,
    load: ({ cursor }) => get("/api/v1/events", { query: { cursor, page_size: 10 }, signal }),
    show: (rows) => table({ caption: "Events", columns: COLUMNS, rows }),
    empty: () => emptyState({ title: "Nothing has happened yet", text: "Add a domain, and its checks and certificate show up here. Webhooks send the same events to a program of yours." }),
  });
  await events.reload();
  return [
    h("h1", null, who.organization.name),
    h("div", { class: "cards" }, card("#/domains", "Domains", "Serve a computer or deployment at a domain of your own."), card("#/preview-domains", "Preview domains", "Have your previews under your own domain."), card("#/explain", "Explain a host", "See where a host leads, and why.")),
    h("h2", null, "Latest events"),
    events.node,
  ];
}

const card = (href, title, text) => h("div", { class: "card" }, h("h2", null, h("a", { href }, title)), h("p", { class: "muted" }, text));

const COLUMNS = [
  { title: "When", cell: (event) => moment(event.created_at) },
  { title: "Event", cell: (event) => h("code", null, event.type) },
  { title: "About", cell: (event) => about(event) },
];

/** What an event is about, in the words that its data has for it. */
export function about(event) {
  const { domain, fqdn, name, slug, url } = event.data;
  return domain ?? fqdn ?? name ?? slug ?? url ?? h("span", { class: "muted" }, "–");
}

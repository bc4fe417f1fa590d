// A list of events, as the API has them.
import { h } from "./dom.js";
import { get } from "./api.js";
import { moment } from "./format.js";
import { emptyState, pagedList, table } from "./table.js";

const WORDS = ["domain", "fqdn", "preview_domain", "host", "name", "slug", "url"];

/** The events that `query` asks for; `empty` is what the list says without any. */
export function eventList(query, signal, empty) {
  return pagedList({
    noun: "events",
    cursors: true,
    load: ({ cursor }) => get("/api/v1/events", { query: { page_size: 10, ...query, cursor }, signal }),
    show: (rows) => table({ caption: "Events", columns: COLUMNS, rows }),
    empty: () => emptyState(empty),
  });
}

/** Of what has no name: its port, what was done, or the state that it is in now. */
function unnamed({ port, action, state }) {
  if (typeof port === "number") return `port ${port}`;
  return [action, state].find((value) => typeof value === "string") ?? null;
}

const COLUMNS = [
  { title: "When", kind: "short", cell: (event) => moment(event.created_at) },
  { title: "Event", cell: (event) => h("code", null, event.type) },
  { title: "About", kind: "wide", cell: (event) => WORDS.map((word) => event.data[word]).find((value) => typeof value === "string") ?? unnamed(event.data) ?? h("span", { class: "muted" }, "–") },
  { title: "Details", cell: (event) => h("details", null, h("summary", { "aria-label": `Data of ${event.type}` }, "Data"), h("pre", { tabindex: "0", "aria-label": `Data of ${event.type}` }, JSON.stringify(event.data, null, 2))) },
];

// What became of each request: as they come, or page by page, under conditions that stand in the address.
import { h, replace } from "../lib/dom.js";
import { get, listen } from "../lib/api.js";
import { badge, exact, moment, number } from "../lib/format.js";
import { actionButton, announce, errorBox } from "../lib/feedback.js";
import { all } from "../lib/places.js";
import { setQuery } from "../lib/router.js";
import { emptyState, pagedList, table } from "../lib/table.js";
import { nameOf } from "../lib/resources.js";
import { duration, requestDetails, toneOf } from "../lib/request_details.js";

const KINDS = [["deployments", "deployment"], ["computers", "computer"], ["sandboxes", "sandbox"]];
const FAULTS = [["", "Any"], ["application", "The application's"], ["edge", "The edge's"], ["client", "The visitor's"]];
const SHOWN = 100; // of those that come live
const DRAW_EVERY = 400; // milliseconds
const AGAIN_AFTER = 3_000; // milliseconds until a stream that ended is opened anew

export async function render({ query, signal, who }) {
  const wide = who.workspace === null && who.project === null;
  const resources = (await Promise.all(KINDS.map(async ([path, kind]) => (await all(`/api/v1/${path}`, signal)).map((one) => ({ path: `/api/v1/${path}/${one.id}`, id: one.id, words: `${nameOf(one)} (${kind})` }))))).flat();
  if (!wide && resources.length === 0) return [h("h1", null, "Requests"), emptyState({ title: "Nothing to see requests of", text: "Requests show up here for each sandbox, computer and deployment that this key reaches. It reaches none yet." })];
  const filter = { resource_id: "", host: "", method: "", path_contains: "", status: "", fault: "", ending: "", min_duration_ms: "", request_id: "", since: "", until: "", ...query };
  if (!wide && !resources.some((one) => one.id === filter.resource_id)) filter.resource_id = resources[0].id;
  const list = h("div", { class: "stack" });
  const note = h("p", { class: "muted", role: "status" });
  let live = query.live !== "0" && filter.until === "" && filter.since === "";
  let stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort());

  const path = () => (filter.resource_id === "" ? "/api/v1" : resources.find((one) => one.id === filter.resource_id)?.path ?? "/api/v1") + "/request-logs";
  const conditions = (withTimes) => {
    const { resource_id: resource, since, until, ...rest } = filter;
    const unknown = resource !== "" && path() === "/api/v1/request-logs";
    return { ...rest, ...(unknown ? { resource_id: resource } : {}), ...(withTimes ? { since: instant(since), until: instant(until) } : {}) };
  };

  function show() {
    stop.abort();
    stop = new AbortController();
    setQuery({ ...filter, ...(live ? {} : { live: "0" }) });
    replace(toggle, live ? "Pause" : "Follow live");
    if (live) return follow(stop.signal).catch((error) => { if (error.name !== "AbortError") replace(list, errorBox(error, show)); });
    replace(note, "");
    const pages = pagedList({
      noun: "requests",
      cursors: true,
      load: async ({ cursor }) => {
        const { data } = await get(path(), { query: { ...conditions(true), cursor, limit: 50 }, signal: stop.signal });
        return { data: data.items, page: { next_cursor: data.next_cursor } };
      },
      show: (rows) => drawn(rows),
      empty: () => nothing(),
    });
    replace(list, pages.node);
    return pages.reload();
  }

  /** The latest ones, and then each as it ends. */
  async function follow(mine) {
    const { data } = await get(path(), { query: { ...conditions(false), limit: 50 }, signal: mine });
    let rows = data.items;
    let last = rows[0]?.id ?? "";
    let timer = null;
    const draw = () => {
      timer = null;
      if (mine.aborted) return;
      const inside = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
      replace(list, rows.length === 0 ? nothing() : drawn(rows));
      if (inside) list.querySelector(`[data-id="${CSS.escape(inside)}"]`)?.focus();
    };
    draw();
    while (!mine.aborted) {
      replace(note, "Requests show up here as they end.");
      try {
        last = await listen(`${path()}/stream`, ({ id, data: record }) => {
          last = id || last;
          rows = [record, ...rows].slice(0, SHOWN);
          timer ??= setTimeout(draw, DRAW_EVERY);
        }, { query: conditions(false), signal: mine, lastEventId: last });
      } catch (error) {
        if (mine.aborted || error.status === 401) return;
        replace(note, `${error.message} Trying again.`);
      }
      await new Promise((resolve) => { setTimeout(resolve, AGAIN_AFTER); mine.addEventListener("abort", resolve, { once: true }); });
    }
  }

  const drawn = (rows) => table({ caption: "Requests", columns, rows });
  const columns = [
    { title: "Ended", kind: "short", cell: (record) => h("time", { datetime: record.ended_at, title: exact(record.ended_at) }, clock(record.ended_at)) },
    { title: "Status", cell: (record) => (record.type === "gap" ? badge("gap", "gap", "warn") : badge(String(record.status), record.status === 0 ? "none" : String(record.status), toneOf(record))) },
    { title: "Request", kind: "wide", cell: (record) => (record.type === "gap" ? `${number(record.lost)} records are missing around here` : [h("code", null, `${record.method} ${record.path}`), h("div", { class: "muted small" }, record.host, record.error !== null && ` · ${record.error}`, record.ending !== "--" && record.ending_text !== null && ` · ${record.ending_text}`)]) },
    { title: "Took", kind: "number", cell: (record) => (record.type === "gap" ? "" : duration(record.duration_ms)) },
    { title: "Actions", kind: "actions", cell: (record) => record.type === "request" && actionButton("Details", () => { requestDetails(record, () => announce("The request was sent once more")); }, { "aria-label": `Details of ${record.method} ${record.path}`, "data-id": record.id }) },
  ];
  const filtered = () => Object.entries(filter).some(([name, value]) => value !== "" && name !== "resource_id");
  const nothing = () => emptyState(filtered()
    ? { title: "No request fits", text: "None that is kept has all of these. Take a condition away.", action: actionButton("Clear all conditions", clear) }
    : { title: "No requests yet", text: "Open one of your previews or domains in a browser: the request shows up here within two seconds." });

  function clear() {
    for (const name of Object.keys(filter)) if (name !== "resource_id") filter[name] = "";
    fields.forEach((field) => { if (field.name !== "resource_id") field.value = ""; });
    return show();
  }

  const field = (name, label, node) => { Object.assign(node, { name, id: `filter-${name}` }); return h("div", { class: "field" }, h("label", { for: node.id }, label), node); };
  const text = (name, label, attributes = {}) => field(name, label, h("input", { value: filter[name], autocomplete: "off", spellcheck: "false", autocapitalize: "none", ...attributes }));
  const choice = (name, label, options) => field(name, label, h("select", null, options.map(([value, words]) => h("option", { value, selected: value === filter[name] }, words))));
  const resourceChoice = choice("resource_id", "Resource", [...(wide ? [["", "All"]] : []), ...resources.map((one) => [one.id, one.words])]);
  const bar = h(
    "form",
    { class: "filters", "aria-label": "Conditions", onsubmit: (event) => { event.preventDefault(); take(); } },
    resourceChoice,
    text("host", "Host"),
    text("path_contains", "Path contains"),
    text("status", "Status", { placeholder: "404, 5xx" }),
    choice("fault", "Whose fault", FAULTS),
    text("min_duration_ms", "At least (ms)", { inputmode: "numeric" }),
    h(
      "details",
      { class: "grow", open: ["method", "ending", "request_id", "since", "until"].some((name) => filter[name] !== "") },
      h("summary", null, "More conditions"),
      h("div", { class: "filters" }, text("method", "Method", { placeholder: "GET" }), text("ending", "Ending", { placeholder: "two letters" }), text("request_id", "Request id"), text("since", "Since", { type: "datetime-local", step: "1" }), text("until", "Until", { type: "datetime-local", step: "1" })),
    ),
    h("button", { type: "submit" }, "Apply"),
  );
  const fields = [...bar.querySelectorAll("input, select")];
  const toggle = actionButton("", () => { live = !live; if (live) { filter.since = filter.until = ""; fields.forEach((one) => { if (one.name === "since" || one.name === "until") one.value = ""; }); } show(); });

  function take() {
    for (const one of fields) filter[one.name] = one.value.trim();
    if (filter.since !== "" || filter.until !== "") live = false;
    show();
  }
  bar.querySelector("select").addEventListener("change", take);

  show();
  return [
    h("div", { class: "spread" }, h("h1", null, "Requests"), toggle),
    h("section", { class: "card", "aria-label": "Conditions" }, bar),
    note,
    list,
  ];
}

/** The time of day, with the date where it was another day. */
function clock(iso) {
  const then = new Date(iso);
  const today = then.toDateString() === new Date().toDateString();
  return today ? then.toLocaleTimeString("en-GB") : moment(iso).textContent;
}

/** What a datetime-local field holds, as the API takes it. */
const instant = (text) => (text === "" ? "" : new Date(text).toISOString());

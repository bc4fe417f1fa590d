// How traffic went in the last hour or day: requests, errors and p99 as charts, of everything that the key reaches or of one resource.
import { h, replace } from "./dom.js";
import { get } from "./api.js";
import { chart } from "./chart.js";
import { errorBox } from "./feedback.js";
import { number } from "./format.js";
import { nameOf } from "./resources.js";
import { setQuery, to } from "./router.js";
import { emptyState, table } from "./table.js";

const PERIODS = { hour: { words: "Last hour", noun: "hour", minutes: 60 }, day: { words: "Last day", noun: "day", minutes: 1440 } };
const KINDS = [["deployments", "deployment"], ["computers", "computer"], ["sandboxes", "sandbox"]];
const CHOICES = 100; // of each kind: the newest, to choose from
const MINUTE = 60_000; // milliseconds
const AGAIN_AFTER = 30_000;
const LOOK_EVERY = 5_000; // for the first requests
const ROUTES = 5;
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** The section, or null where this key reaches nothing that has numbers. */
export async function traffic({ query, signal, who }) {
  const whole = who.workspace === null && who.project === null; // the numbers of all resources are the whole organization's
  const kinds = whole ? KINDS : KINDS.slice(0, 1); // a narrower key reads those of deployments
  const found = await Promise.all(kinds.map(async ([kind, word]) => (await get(`/api/v1/${kind}`, { query: { page_size: CHOICES }, signal })).data.map((one) => ({ id: one.id, kind, words: `${nameOf(one)} (${word})` }))));
  const resources = found.flat();
  if (!whole && resources.length === 0) return null;
  const filter = { period: Object.hasOwn(PERIODS, query.period) ? query.period : "hour", resource: query.resource ?? "" };
  if (!whole && !resources.some((one) => one.id === filter.resource)) filter.resource = resources[0].id;
  if (filter.resource !== "" && !resources.some((one) => one.id === filter.resource)) resources.push({ id: filter.resource, kind: null, words: filter.resource });

  const drawn = h("div", { class: "stack" });
  const choose = (name, label, options) => {
    const select = h("select", { "aria-label": label, onchange: () => { filter[name] = select.value; setQuery({ ...query, period: filter.period, resource: filter.resource }); show(); } }, options.map(([value, words]) => h("option", { value, selected: value === filter[name] }, words)));
    return h("div", { class: "field" }, select);
  };
  const node = h(
    "section",
    { class: "stack", "aria-label": "Traffic" },
    h("div", { class: "spread" }, h("h2", null, "Traffic"), h("div", { class: "filters" }, choose("resource", "Traffic of", [...(whole ? [["", "All resources"]] : []), ...resources.map(({ id, words }) => [id, words])]), choose("period", "Period", Object.entries(PERIODS).map(([value, { words }]) => [value, words])))),
    drawn,
  );

  let turn = 0;
  let shown = 0;
  async function show() {
    turn += 1;
    shown = Date.now();
    const mine = turn;
    const own = resources.find((one) => one.id === filter.resource);
    const period = PERIODS[filter.period];
    const until = new Date(Math.ceil(Date.now() / MINUTE) * MINUTE);
    const times = { since: new Date(until - period.minutes * MINUTE).toISOString(), until: until.toISOString() };
    try {
      const deployment = own?.kind === "deployments" ? `/api/v1/deployments/${own.id}` : null;
      const [{ data }, routes] = await Promise.all([
        whole ? get("/api/v1/observability", { query: { ...times, resource_id: filter.resource }, signal }) : get(`${deployment}/observability`, { query: times, signal }),
        deployment === null ? null : get(`${deployment}/routes`, { query: { ...times, limit: ROUTES }, signal }),
      ]);
      if (mine === turn) replace(drawn, data.requests === 0 ? nothing(period) : [charts(data, filter), routes && busiest(routes.data.routes)]);
    } catch (error) {
      if (mine === turn && error.name !== "AbortError") replace(drawn, errorBox(error, show));
    }
  }
  const timer = setInterval(() => {
    if (document.hidden || (drawn.querySelector(".chart") !== null && Date.now() - shown < AGAIN_AFTER)) return;
    // Whoever reads a table, or stands in it with the keyboard, keeps it.
    if (drawn.querySelector("details[open]") === null && !drawn.contains(document.activeElement)) show();
  }, LOOK_EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  await show();
  return node;
}

function nothing(period) {
  return emptyState({
    title: `No requests in the last ${period.noun}`,
    text: `Requests, errors and how long answers take show up here, some seconds after somebody visits a host of yours.${period.minutes === 60 ? " Or look at the last day." : ""}`,
    action: h("a", { href: "#/explain" }, "See where a host leads"),
  });
}

function charts(data, filter) {
  const points = whole(data);
  const time = (at) => clock.format(new Date(at));
  const rate = (field) => points.map(({ at, minutes, point }) => ({ at, value: point === undefined ? 0 : point[field] / minutes }));
  const share = data.error_rate === 0 ? "none" : data.error_rate < 0.001 ? "< 0.1 %" : `${number(Math.round(data.error_rate * 1000) / 10)} %`;
  const failed = to("/requests", {}, { resource_id: filter.resource, status: "5xx", live: "0" });
  return h(
    "div",
    { class: "cards" },
    h("div", { class: "card" }, chart({ title: "Requests", headline: number(data.requests), unit: "per minute", points: rate("requests"), format: few, time })),
    h("div", { class: "card" }, chart({ title: "Errors", headline: data.errors === 0 ? "none" : `${number(data.errors)} (${share})`, unit: "per minute", points: rate("errors"), format: few, time, colour: "bad" }), data.errors > 0 && h("p", { class: "small" }, h("a", { href: failed }, "See the failed requests"))),
    h("div", { class: "card" }, chart({ title: "p99 of durations", headline: milliseconds(data.latency_ms.p99), points: points.map(({ at, point }) => ({ at, value: point?.latency_ms.p99 ?? null })), format: milliseconds, time, colour: "warn" })),
  );
}

/** Every step of the period, also those without a request, which the API leaves out; the one that is not over only where it is all there is. */
function whole(data) {
  const [since, until] = [Date.parse(data.since), Date.parse(data.until)];
  const minutes = (until - since) / MINUTE;
  const step = (data.step_seconds ?? Math.max(1, Math.ceil(minutes / 120)) * 60) * 1000; // a deployment's numbers don't tell it
  const known = new Map(data.series.map((point) => [Date.parse(point.at), point]));
  const steps = [];
  for (let at = since; at < until; at += step) steps.push({ at: new Date(at).toISOString(), minutes: Math.min(step, until - at) / MINUTE, point: known.get(at) });
  const last = steps.at(-1);
  return last.point !== undefined && known.size === 1 ? steps : steps.slice(0, -1);
}

function busiest(routes) {
  if (routes.length === 0) return null;
  return h(
    "div",
    { class: "stack" },
    h("h3", null, "Busiest routes"),
    table({
      caption: "Busiest routes",
      columns: [
        { title: "Route", kind: "wide", cell: (one) => h("code", null, one.route) },
        { title: "Requests", kind: "number", cell: (one) => number(one.requests) },
        { title: "Errors", kind: "number", cell: (one) => number(one.errors) },
        { title: "p99", kind: "number", cell: (one) => milliseconds(one.latency_ms.p99) },
      ],
      rows: routes,
    }),
  );
}

const few = (value) => number(value < 10 ? Math.round(value * 10) / 10 : Math.round(value));

/** A duration in milliseconds, as people say it. */
export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${number(Math.round(value / 100) / 10)} s`;
  return `${number(value < 10 ? Math.round(value * 10) / 10 : Math.round(value))} ms`;
}

// How the platform is, for its operators: what is degraded and what to do first, then nodes, stores, traffic, certificates and budgets.
import { h, replace } from "../lib/dom.js";
import { get } from "../lib/api.js";
import { errorBox } from "../lib/feedback.js";
import { badge, moment, number } from "../lib/format.js";
import { table } from "../lib/table.js";
import { milliseconds } from "../lib/traffic.js";

const AGAIN_AFTER = 5_000; // milliseconds
const STATES = { ready: ["ready", "good"], degraded: ["degraded", "warn"], not_ready: ["not ready", "bad"] };
const BUDGETS = { account: "First certificates of the ACME account", platform_names: "Names of the platform's domain" };
const ORIGINS = { caddy: "Caddy", managed: "the router", uploaded: "its owner, who uploaded it" };
const UNKNOWN = "The store can't be asked, so this is not known. See what is degraded above.";

export async function render({ signal }) {
  const shown = h("div", { class: "stack" });
  async function show() {
    try {
      const { data } = await get("/api/v1/platform/status", { signal });
      replace(shown, drawn(data));
    } catch (error) {
      if (error.name !== "AbortError") replace(shown, errorBox(error, show));
    }
  }
  const timer = setInterval(() => {
    if (!document.hidden && !shown.contains(document.activeElement)) show();
  }, AGAIN_AFTER);
  signal.addEventListener("abort", () => clearInterval(timer));
  await show();
  return [h("h1", null, "Status"), shown];
}

function drawn(found) {
  const { traffic } = found;
  return [
    degradations(found),
    h(
      "div",
      { class: "cards" },
      card("This node", [
        ["Name", found.node],
        ["State", badge(...state(found.status))],
        ["Version", h("code", null, found.version)],
        ["Workers", found.workers === null ? "one process for all" : `${found.workers.serving} of ${found.workers.of} serve`],
        ["As of", moment(found.at)],
      ]),
      card("Traffic of this node now", [
        ["Requests", `${number(traffic.requests_per_second)} per second`],
        ["Errors", `${number(traffic.errors_per_second)} per second`],
        ["p99", milliseconds(traffic.p99_ms)],
        ["Open tunnels", number(traffic.tunnels)],
        ...(found.hosts ?? []).map((one) => [one.kind[0].toUpperCase() + one.kind.slice(1), number(one.number)]),
      ]),
    ),
    part("Nodes", found.nodes, { title: "No node runs jobs", text: "Certificates are not renewed and domains not checked until one does. Start a node with the role `jobs` (`roles`)." }, [
      { title: "Node", cell: (one) => one.host },
      { title: "Process", cell: (one) => one.process ?? "–" },
      { title: "Jobs that it runs", kind: "number", cell: (one) => number(one.jobs) },
    ]),
    part("Stores", found.stores, { title: "No stores", text: "Name a database by `database_url`." }, [
      { title: "Store", cell: (one) => one.name },
      { title: "State", cell: (one) => (one.error === null ? badge("ok") : [badge("lost", "can't be used", "bad"), " ", one.error]) },
      { title: "Version", cell: (one) => one.version ?? "–" },
      { title: "Role", cell: (one) => one.role ?? "–" },
      { title: "Round trip", kind: "number", cell: (one) => milliseconds(one.latency_ms) },
    ]),
    part("Certificates near their end", found.certificates_near_end, { title: "No certificate is near its end", text: "Those that should have been renewed and were not are listed here, with the last failure." }, [
      { title: "Host", kind: "wide", cell: (one) => h("code", null, one.host) },
      { title: "Ends", kind: "short", cell: (one) => moment(one.not_after) },
      { title: "Renewed by", cell: (one) => ORIGINS[one.origin] },
      { title: "Last failure", kind: "wide", cell: (one) => one.last_error ?? "–" },
    ]),
    part("Budgets of certificates", found.budgets ?? [], { title: "No budgets are counted", text: "They keep the ACME account within the authority's limits. Switch them on by `gate.budgets`." }, [
      { title: "Budget", cell: (one) => BUDGETS[one.name] },
      { title: "Spent", kind: "number", cell: (one) => (one.spent === null ? "not known" : number(one.spent)) },
      { title: "Of", kind: "number", cell: (one) => number(one.of) },
      { title: "Within", kind: "short", cell: (one) => span(one.seconds) },
      { title: "State", kind: "short", cell: (one) => (one.spent === null ? badge("unknown") : one.spent >= one.of ? badge("lost", "spent", "bad") : one.spent >= 0.8 * one.of ? badge("warning", "nearly spent") : badge("ok")) },
    ]),
    part("Busiest hosts of this node", found.busiest_hosts, quiet(traffic, "No requests just now", "The hosts with the most requests of the last seconds are listed here."), [
      { title: "Host", kind: "wide", cell: (one) => (one.host === null ? "all others" : h("code", null, one.host)) },
      { title: "Requests per second", kind: "number", cell: (one) => number(one.requests_per_second) },
      { title: "Errors per second", kind: "number", cell: (one) => number(one.errors_per_second) },
      { title: "p99", kind: "number", cell: (one) => milliseconds(one.p99_ms) },
    ]),
    part("Refusals by this node", found.refusals, quiet(traffic, "Nothing was refused just now", "Requests that the router answered itself in the last seconds, by the code of the error. `miosa-router errors` on the node lists single ones."), [
      { title: "Code", kind: "wide", cell: (one) => h("code", null, one.code) },
      { title: "Per second", kind: "number", cell: (one) => number(one.per_second) },
    ]),
  ];
}

function degradations({ degradations: found, status }) {
  if (found.length === 0) return h("div", { class: "notice good" }, h("p", null, words("Nothing is degraded. `miosa-router doctor` on a node checks the rest of its installation.")));
  return h("div", { class: `notice ${status === "not_ready" ? "bad" : "warn"}` }, h("h2", null, "Degraded"), found.map((one) => [h("p", null, h("strong", null, one.check), `: ${one.detail}`), h("p", null, words(one.remedy))]));
}

/** Text with code between backticks. */
const words = (text) => text.split("`").map((piece, index) => (index % 2 === 1 ? h("code", null, piece) : piece));

const state = (status) => [status, ...(STATES[status] ?? [status, "plain"])];

const card = (title, facts) => h("div", { class: "card" }, h("h2", null, title), h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));

/** A section with a table; `rows` null is what can't be known now. */
function part(title, rows, empty, columns) {
  const content = rows === null ? h("div", { class: "notice warn" }, h("p", null, UNKNOWN)) : rows.length === 0 ? h("div", { class: "notice info" }, h("p", null, h("strong", null, `${empty.title}. `), words(empty.text))) : table({ caption: title, columns, rows });
  return h("section", { class: "stack", "aria-label": title }, h("h2", null, title), content);
}

const quiet = (traffic, title, text) => (traffic.seconds === 0 ? { title: "Counting has just begun", text: "Numbers show up here in some seconds." } : { title, text });

const span = (seconds) => (seconds % 86_400 === 0 ? `${number(seconds / 86_400)} days` : `${number(Math.round(seconds / 360) / 10)} hours`);

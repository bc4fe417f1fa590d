// Sandboxes, computers and deployments: the list of each kind.
import { h, replace } from "../lib/dom.js";
import { get } from "../lib/api.js";
import { moment, number } from "../lib/format.js";
import { emptyState, pagedList, table } from "../lib/table.js";
import { setQuery, to } from "../lib/router.js";
import { KINDS, nameOf, organization, stateOf, urlOf, visibility } from "../lib/resources.js";

const MACHINE_STATES = ["provisioning", "starting", "running", "paused", "stopping", "stopped", "error"];
const STATES = { sandboxes: MACHINE_STATES, computers: MACHINE_STATES, deployments: ["pending", "building", "running", "stopped", "failed"] };
const EMPTY = {
  sandboxes: "A sandbox runs a program for a while, and each of its ports has a host. Create one with the official client or POST /api/v1/sandboxes.",
  computers: "A computer keeps running, and can have domains of its own. Create one with the official client or POST /api/v1/computers.",
  deployments: "A deployment shows versions of a program at a stable host. Publish a sandbox: POST /api/v1/sandboxes/{id}/deploy.",
};

export async function render({ signal, query }) {
  const kinds = Object.keys(KINDS);
  const [tenant, ...totals] = await Promise.all([organization(signal), ...kinds.map((kind) => total(kind, signal))]);
  const filter = { kind: kinds.includes(query.kind) ? query.kind : kinds.find((_, index) => totals[index] > 0) ?? kinds[0], state: query.state ?? "" };
  if (!STATES[filter.kind].includes(filter.state)) filter.state = "";
  const list = pagedList({
    noun: filter.kind,
    load: ({ page }) => get(`/api/v1/${filter.kind}`, { query: { page, state: filter.state }, signal }),
    show: (rows) => table({ caption: KINDS[filter.kind].title, columns: columns(filter.kind, tenant), rows }),
    empty: () => (filter.state === "" ? emptyState({ title: `No ${filter.kind} yet`, text: EMPTY[filter.kind] }) : emptyState({ title: `No ${filter.kind} in this state`, text: "Choose another state above." })),
  });
  const states = h("select", { id: "state", onchange: () => { filter.state = states.value; setQuery(filter); list.reload(); } });
  replace(states, [["", "All"], ...STATES[filter.kind].map((state) => [state, state])].map(([value, words]) => h("option", { value, selected: value === filter.state }, words)));
  await list.reload();
  return [
    h("h1", null, "Resources"),
    h("p", { class: "lead" }, "What serves your traffic: where each is reached, whether it runs, and who gets in."),
    h(
      "div",
      { class: "filters" },
      h("nav", { class: "tabs grow", "aria-label": "Kinds" }, kinds.map((kind, index) => h("a", { href: to("/resources", {}, { kind }), "aria-current": kind === filter.kind ? "page" : null }, `${KINDS[kind].title} `, h("span", { class: "muted small" }, number(totals[index]))))),
      h("div", { class: "field" }, h("label", { for: "state" }, "State"), states),
    ),
    list.node,
  ];
}

async function total(kind, signal) {
  const { page, total: all } = await get(`/api/v1/${kind}`, { query: { page_size: 1 }, signal });
  return page?.total ?? all ?? 0;
}

function columns(kind, tenant) {
  return [
    { title: "Name", cell: (resource) => [h("a", { href: to("/resources/:kind/:id", { kind, id: resource.id }) }, nameOf(resource)), resource.slug !== nameOf(resource) && h("div", { class: "muted small" }, resource.slug)] },
    { title: "State", cell: stateOf },
    { title: "Host", kind: "wide", cell: (resource) => hosts(resource) },
    { title: "Who gets in", cell: (resource) => visibility(resource.visibility, tenant) },
    { title: "Project", cell: (resource) => resource.project_name ?? resource.project_slug ?? resource.project_id },
    kind === "deployments" ? { title: "Changed", kind: "short", cell: (resource) => moment(resource.updated_at) } : { title: "Last used", kind: "short", cell: (resource) => moment(resource.last_activity_at ?? resource.last_uncounted_activity_at) },
  ];
}

function hosts(resource) {
  const url = urlOf(resource);
  const ports = resource.exposed_ports ?? [];
  return [
    h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, new URL(url).host),
    ports.length > 0 && h("div", { class: "muted small" }, ports.length === 1 ? `port ${ports[0]}` : `ports ${ports.join(", ")}`),
  ];
}

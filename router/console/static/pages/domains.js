// Custom domains: the list, and adding one.
import { h } from "../lib/dom.js";
import { get, post } from "../lib/api.js";
import { badge, moment } from "../lib/format.js";
import { writeButton } from "../lib/feedback.js";
import { dialog } from "../lib/dialog.js";
import { emptyState, pagedList, table } from "../lib/table.js";
import { form } from "../lib/form.js";
import { all } from "../lib/places.js";
import { nameOf } from "../lib/resources.js";
import { navigate, setQuery, to } from "../lib/router.js";
import { claimDialog } from "../lib/records.js";

const STATES = [["", "All but removed ones"], ["pending", "Pending"], ["verified", "Verified"], ["active", "Active"], ["failed", "Failed"], ["removed", "Removed"]];

export async function render({ signal, query }) {
  const filter = { status: query.status ?? "" };
  const list = pagedList({
    noun: "domains",
    load: ({ page }) => get("/api/v1/custom-domains", { query: { page, status: filter.status }, signal }),
    show: (rows) => table({ caption: "Custom domains", columns: COLUMNS, rows }),
    empty: () =>
      filter.status === ""
        ? emptyState({ title: "No domains yet", text: "Add a domain such as www.example.com. You get the DNS record that leads it to your computer or deployment; the certificate comes by itself.", action: writeButton("Add your first domain", () => add(signal), { kind: "primary" }) })
        : emptyState({ title: `No ${filter.status} domains`, text: "Choose another state above." }),
  });
  const states = h("select", { id: "state", onchange: () => { filter.status = states.value; setQuery(filter); list.reload(); } }, STATES.map(([value, words]) => h("option", { value, selected: value === filter.status }, words)));
  await list.reload();
  return [
    h("div", { class: "spread" }, h("h1", null, "Domains"), writeButton("Add domain", () => add(signal), { kind: "primary" })),
    h("div", { class: "filters" }, h("div", { class: "field" }, h("label", { for: "state" }, "State"), states)),
    list.node,
  ];
}

const COLUMNS = [
  { title: "Domain", cell: (domain) => h("a", { href: to("/domains/:id", domain) }, domain.fqdn_unicode) },
  { title: "State", cell: (domain) => (domain.blocked !== null ? badge("blocked") : badge(domain.status)) },
  { title: "DNS", cell: (domain) => badge(domain.dns_status) },
  { title: "Certificate", cell: (domain) => badge(domain.cert.status) },
  { title: "Leads to", cell: (domain) => (domain.computer_id !== null ? h("a", { href: to("/resources/computers/:id", { id: domain.computer_id }) }, "computer") : h("a", { href: to("/resources/deployments/:id", { id: domain.deployment_id }) }, "deployment")) },
  { title: "Checked", cell: (domain) => moment(domain.checked_at) },
];

async function add(signal) {
  const [computers, deployments] = await Promise.all([all("/api/v1/computers", signal), all("/api/v1/deployments", signal)]);
  const options = [...deployments.map((one) => [`deployment_id:${one.id}`, `${nameOf(one)} (deployment)`]), ...computers.map((one) => [`computer_id:${one.id}`, `${nameOf(one)} (computer)`])];
  if (options.length === 0) {
    await dialog({
      title: "Nothing to lead to yet",
      body: (close) => [
        h("p", null, "A domain leads to a computer or a deployment, and this key reaches none. Create one first. Sandboxes are reached under preview domains instead."),
        h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => close() }, "Close")),
      ],
    });
    return;
  }
  const made = await dialog({
    title: "Add a domain",
    body: (close) =>
      form({
        fields: [
          { name: "domain", label: "Domain", required: true, placeholder: "www.example.com", hint: "The whole name that visitors will type." },
          { name: "target", label: "Leads to", kind: "select", options, value: options[0][0] },
        ],
        aliases: { fqdn: "domain", computer_id: "target", deployment_id: "target" },
        action: "Add domain",
        cancel: () => close(),
        submit: async ({ domain, target }) => {
          const [field, id] = target.split(":");
          try {
            close((await post("/api/v1/custom-domains", { domain, [field]: id })).data);
          } catch (error) {
            if (error.claim === undefined) throw error;
            close({ claim: error.claim });
          }
        },
      }),
  });
  if (made?.claim) await claimDialog(made.claim);
  else if (made !== null) navigate("/domains/:id", made);
}

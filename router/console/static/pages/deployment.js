// A deployment: its URL, versions and releases, variables, domains, captures and events.
import { h } from "../lib/dom.js";
import { get, patch, post } from "../lib/api.js";
import { badge, moment } from "../lib/format.js";
import { toast, writeButton } from "../lib/feedback.js";
import { confirm, dialog } from "../lib/dialog.js";
import { form } from "../lib/form.js";
import { capture } from "../lib/capture.js";
import { eventList } from "../lib/events.js";
import { releases } from "../lib/releases.js";
import { commonFacts, heading, inherited, nameOf, organization, visibilityChoices } from "../lib/resources.js";
import { to } from "../lib/router.js";
import { emptyState, pagedList, renew, table } from "../lib/table.js";
import { variables } from "../lib/variables.js";

export async function render({ params, signal, title }) {
  const path = `/api/v1/deployments/${params.id}`;
  const [found, tenant] = await Promise.all([get(path, { signal }), organization(signal)]);
  let deployment = found.data;
  title(nameOf(deployment));
  const head = heading("deployments", [writeButton("Change", change), writeButton("Take off the air", stop, { kind: "danger" })]);
  const facts = h("div", { class: "stack" });

  function show() {
    head.show(deployment);
    renew(
      facts,
      h(
        "dl",
        { class: "facts" },
        commonFacts(deployment),
        h("dt", null, "Who gets in"), h("dd", null, inherited(deployment, "visibility", tenant)),
        h("dt", null, "Port"), h("dd", null, deployment.port ?? h("span", { class: "muted" }, "none yet")),
        deployment.repo_url !== null && [h("dt", null, "Repository"), h("dd", null, deployment.repo_url, deployment.branch !== null && ` (${deployment.branch})`)],
        h("dt", null, "Changed"), h("dd", null, moment(deployment.updated_at)),
      ),
    );
  }

  async function again() {
    deployment = (await get(path, { signal })).data;
    show();
    events.reload();
  }

  async function change() {
    const changed = await dialog({
      title: "Change the deployment",
      body: (close) =>
        form({
          fields: [
            { name: "name", label: "Name", required: true, value: deployment.name },
            { name: "visibility", label: "Who gets in", kind: "select", value: deployment.visibility ?? "", options: visibilityChoices("As the organization says"), hint: "It holds at once, also for those who are in." },
          ],
          action: "Save",
          cancel: () => close(),
          submit: async ({ name, visibility }) => close((await patch(path, { name, visibility: visibility || null })).data),
        }),
    });
    if (changed === null) return;
    deployment = changed;
    title(nameOf(deployment));
    show();
    toast("Deployment changed");
  }

  async function stop() {
    const done = await confirm({ title: `Take ${nameOf(deployment)} off the air?`, text: "Its hosts answer 503 from now on. Promote, publish or roll back to put it on air again.", action: "Take it off", work: async () => { deployment = (await post(`${path}/stop`)).data; } });
    if (!done) return;
    show();
    toast("Off the air");
    await Promise.all([versions.load(), events.reload()]);
  }

  const versions = releases({ path, deployment: () => deployment, signal, changed: again });
  const env = variables(path, signal);
  const domains = domainList(deployment, signal);
  const captures = capture(path, deployment, signal);
  const events = eventList({ resource_id: deployment.id }, signal, { title: "No events yet", text: "Versions that go on air, and builds that fail, show up here." });
  show();
  await Promise.all([versions.load(), env.load(), domains.reload(), captures.load(), events.reload()]);
  return [
    head.node,
    h("section", { class: "card", "aria-label": "Facts" }, facts),
    versions.node,
    env.node,
    h("section", { class: "stack", "aria-label": "Domains" }, h("div", { class: "spread" }, h("h2", null, "Domains"), h("a", { class: "button", href: "#/domains" }, "All domains")), domains.node),
    captures.node,
    h("h2", null, "Events"),
    events.node,
  ];
}

function domainList(deployment, signal) {
  return pagedList({
    noun: "domains",
    load: ({ page }) => get("/api/v1/custom-domains", { query: { page, deployment_id: deployment.id }, signal }),
    show: (rows) => table({ caption: "Domains of this deployment", columns: DOMAINS, rows }),
    empty: () => emptyState({ title: "No domain of its own", text: "Add one on the page “Domains”, such as www.example.com, and choose this deployment.", action: h("a", { class: "button", href: "#/domains" }, "Go to Domains") }),
  });
}

const DOMAINS = [
  { title: "Domain", cell: (domain) => h("a", { href: to("/domains/:id", domain) }, domain.fqdn_unicode) },
  { title: "State", cell: (domain) => (domain.blocked !== null ? badge("blocked") : badge(domain.status)) },
  { title: "Certificate", cell: (domain) => badge(domain.cert.status) },
];

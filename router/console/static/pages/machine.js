// A sandbox or computer: where it is reached, its ports, who gets in, its captures and events.
import { h } from "../lib/dom.js";
import { ApiError, get, patch } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { toast, writeButton } from "../lib/feedback.js";
import { dialog } from "../lib/dialog.js";
import { form } from "../lib/form.js";
import { capture } from "../lib/capture.js";
import { eventList } from "../lib/events.js";
import { ports } from "../lib/ports.js";
import { KINDS, commonFacts, heading, inherited, nameOf, organization, visibilityChoices, wakeChoices } from "../lib/resources.js";
import { renew } from "../lib/table.js";
import { resourcePassword, sandboxShares } from "../lib/shares.js";

const LOOK_EVERY = 5_000; // milliseconds, while it is on its way to another state
const PASSING = ["provisioning", "starting", "stopping"];
const AWAKE = [["", "As the organization says"], ["yes", "Yes: it keeps running while it is used"], ["no", "No: it may be stopped while it is used"]];

export const sandbox = (context) => render("sandboxes", context);
export const computer = (context) => render("computers", context);

async function render(kind, { params, signal, title }) {
  const { one } = KINDS[kind];
  const path = `/api/v1/${kind}/${params.id}`;
  const [found, tenant] = await Promise.all([get(path, { signal }), organization(signal)]);
  let resource = found.data;
  title(nameOf(resource));
  const head = heading(kind, writeButton("Change", change));
  const facts = h("div", { class: "stack" });

  function show() {
    head.show(resource);
    renew(
      facts,
      h(
        "dl",
        { class: "facts" },
        commonFacts(resource),
        h("dt", null, "Who gets in"), h("dd", null, inherited(resource, "visibility", tenant), h("span", { class: "muted small" }, ", for ports that say nothing else")),
        h("dt", null, "Woken by"), h("dd", null, inherited(resource, "wake", tenant, wakeWords)),
        h("dt", null, "Use keeps it awake"), h("dd", null, inherited(resource, "keeps_awake", tenant, (yes) => (yes ? "yes" : "no"))),
        h("dt", null, "Default port"), h("dd", null, resource.default_port ?? h("span", { class: "muted" }, "the one that was exposed first")),
        h("dt", null, "Exposed ports"), h("dd", null, resource.exposed_ports.length > 0 ? resource.exposed_ports.join(", ") : h("span", { class: "muted" }, "none")),
        resource.size !== null && [h("dt", null, "Size"), h("dd", null, resource.size)],
        h("dt", null, "Last used"), h("dd", null, moment(resource.last_activity_at ?? resource.last_uncounted_activity_at)),
      ),
    );
  }

  async function change() {
    const changed = await dialog({
      title: `Change the ${one}`,
      body: (close) =>
        form({
          fields: [
            { name: "name", label: "Name", value: resource.name ?? "" },
            { name: "visibility", label: "Who gets in", kind: "select", value: resource.visibility ?? "", options: visibilityChoices("As the organization says"), hint: "For ports that say nothing else. It holds at once, also for those who are in." },
            { name: "wake", label: "Woken by", kind: "select", value: resource.wake ?? "", options: wakeChoices("As the organization says") },
            { name: "keeps_awake", label: "Use keeps it awake", kind: "select", value: resource.keeps_awake === null ? "" : resource.keeps_awake ? "yes" : "no", options: AWAKE },
          ],
          action: "Save",
          cancel: () => close(),
          submit: async ({ name, visibility, wake, keeps_awake: awake }) =>
            close((await patch(path, { name: name || null, visibility: visibility || null, wake: wake || null, keeps_awake: awake === "" ? null : awake === "yes" })).data),
        }),
    });
    if (changed === null) return;
    resource = changed;
    title(nameOf(resource));
    show();
    await portList.load();
    toast(`${one === "sandbox" ? "Sandbox" : "Computer"} changed`);
  }

  async function again() {
    try {
      resource = (await get(path, { signal })).data;
      show();
      events.reload();
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof ApiError)) throw error; // the page shows what it was before
    }
  }

  const portList = ports({ kind, path, resource: () => resource, signal, changed: again });
  const shares = kind === "sandboxes" ? sandboxShares(path, signal, again) : null;
  const password = resourcePassword(path, one, signal, again);
  const captures = capture(path, resource, signal);
  const events = eventList({ resource_id: resource.id }, signal, { title: "No events yet", text: "Share links, tokens and passwords that are made or end show up here." });
  show();
  const timer = setInterval(() => { if (PASSING.includes(resource.state) && !document.hidden && document.querySelector("dialog[open]") === null) again(); }, LOOK_EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  await Promise.all([portList.load(), shares?.load(), password.load(), captures.load(), events.reload()]);
  return [
    head.node,
    h("section", { class: "card", "aria-label": "Facts" }, facts),
    portList.node,
    shares?.node,
    password.node,
    captures.node,
    h("h2", null, "Events"),
    events.node,
  ];
}

const wakeWords = (wake) => wakeChoices("").find(([value]) => value === wake)?.[1] ?? wake;

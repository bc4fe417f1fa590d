// One webhook: its settings, and its deliveries.
import { h, replace } from "../lib/dom.js";
import { get, patch, post, remove } from "../lib/api.js";
import { badge, exact, moment } from "../lib/format.js";
import { copyable, toast, writeButton } from "../lib/feedback.js";
import { confirm, dialog, showOnce } from "../lib/dialog.js";
import { emptyState, pagedList, table } from "../lib/table.js";
import { navigate, setQuery } from "../lib/router.js";
import { mayWrite } from "../lib/session.js";
import { webhookForm } from "../lib/webhook_form.js";

const STATES = [["", "All"], ["pending", "Pending"], ["delivered", "Delivered"], ["given_up", "Given up"]];
const LOOK_EVERY = 5_000; // milliseconds, while a delivery is pending

export async function render({ params, query, signal, title }) {
  const path = `/api/v1/webhooks/${params.id}`;
  let hook = (await get(path, { signal })).data;
  title(hook.url);
  const filter = { state: query.state ?? "" };
  const facts = h("div", null);
  let pending = false;
  const list = pagedList({
    noun: "deliveries",
    load: async ({ page }) => {
      const answer = await get(`${path}/deliveries`, { query: { page, state: filter.state }, signal });
      pending = answer.data.some((delivery) => delivery.state === "pending");
      return answer;
    },
    show: (rows) => table({ caption: "Deliveries", columns, rows }),
    empty: () => emptyState({ title: filter.state === "" ? "Nothing sent yet" : "None in this state", text: "Send a test event to see whether your program hears it.", action: writeButton("Send your first test", test) }),
  });
  const columns = [
    { title: "Created", kind: "short", cell: (delivery) => moment(delivery.created_at) },
    { title: "Event", cell: (delivery) => h("code", null, delivery.event_type) },
    { title: "State", cell: (delivery) => [badge(delivery.state), delivery.state === "pending" && delivery.next_at !== null && delivery.attempts > 0 && h("div", { class: "muted small" }, "again ", moment(delivery.next_at))] },
    { title: "Tries", kind: "number", cell: (delivery) => delivery.attempts },
    { title: "Last answer", kind: "wide", cell: lastAnswer },
    mayWrite() && { title: "Actions", kind: "actions", cell: (delivery) => delivery.state !== "pending" && writeButton("Deliver again", () => replay(delivery), { "aria-label": `Deliver again: ${delivery.event_type} of ${exact(delivery.created_at)}` }) },
  ];
  const states = h("select", { id: "state", onchange: () => { filter.state = states.value; setQuery(filter); list.reload(); } }, STATES.map(([value, words]) => h("option", { value, selected: value === filter.state }, words)));

  function show() {
    replace(
      facts,
      h(
        "dl",
        { class: "facts" },
        h("dt", null, "State"), h("dd", null, badge(hook.enabled ? "enabled" : "off")),
        hook.description !== "" && [h("dt", null, "For"), h("dd", null, hook.description)],
        h("dt", null, "Events"), h("dd", null, hook.event_types.map((type) => [h("code", null, type), " "])),
        h("dt", null, "Changed"), h("dd", null, moment(hook.updated_at)),
      ),
    );
  }

  async function test() {
    await post(`${path}/test`);
    toast("Test event queued");
    await list.reload();
  }

  async function replay(delivery) {
    await post(`${path}/deliveries/${delivery.id}/replay`);
    toast("Queued again");
    await list.reload();
  }

  async function change() {
    const found = await dialog({
      title: "Change the webhook",
      body: (close) => webhookForm({ hook, scopes: [], close, action: "Save", submit: async (body) => close((await patch(path, body)).data) }),
    });
    if (found === null) return;
    hook = found;
    show();
    toast("Webhook changed");
  }

  async function rotate() {
    let made = null;
    await confirm({ title: "Make a new secret?", text: "For a day POSTs are signed with the old one too, so that receivers can be changed one after the other.", action: "Make a new secret", work: async () => { made = (await post(`${path}/rotate`)).data; } });
    if (made !== null) await showOnce({ title: "New secret", text: "From now on each POST is signed with:", secret: made.secret, what: "the secret", copyable });
  }

  async function drop() {
    const done = await confirm({ title: "Delete this webhook?", text: `${hook.url} hears of nothing any more. Its deliveries are deleted too, pending ones as well.`, action: "Delete webhook", work: () => remove(path) });
    if (!done) return;
    toast("Webhook deleted");
    navigate("/webhooks");
  }

  show();
  const timer = setInterval(() => { if (pending && !document.hidden && !list.node.contains(document.activeElement)) list.reload(); }, LOOK_EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  await list.reload();
  return [
    h("p", { class: "crumb" }, h("a", { href: "#/webhooks" }, "Webhooks")),
    h("div", { class: "spread" }, h("h1", null, hook.url), h("div", { class: "row" }, writeButton("Send a test", test, { kind: "primary" }), writeButton("Change", change), writeButton("New secret", rotate), writeButton("Delete", drop, { kind: "danger" }))),
    h("section", { class: "card", "aria-label": "Settings" }, facts),
    h("div", { class: "filters" }, h("h2", { class: "grow" }, "Deliveries"), h("div", { class: "field" }, h("label", { for: "state" }, "State"), states)),
    list.node,
  ];
}

function lastAnswer({ last_at: at, last_status: status, last_error: error, last_answer: answer }) {
  if (at === null) return h("span", { class: "muted" }, "not tried yet");
  return [
    status !== null && badge(String(status), String(status), status < 300 ? "good" : "bad"),
    error !== null && h("div", null, error),
    h("div", { class: "muted small" }, moment(at)),
    answer !== null && answer !== "" && h("details", null, h("summary", { "aria-label": "How its answer began" }, "Answer"), h("pre", { tabindex: "0", "aria-label": "How its answer began" }, answer)),
  ];
}

// One log drain: how it does, its settings, a test.
import { h, replace } from "../lib/dom.js";
import { get, patch, post, remove } from "../lib/api.js";
import { moment, number } from "../lib/format.js";
import { copyable, sentence, toast, writeButton } from "../lib/feedback.js";
import { confirm, dialog, showOnce } from "../lib/dialog.js";
import { navigate } from "../lib/router.js";
import { logDrainForm } from "../lib/log_drain_form.js";
import { health } from "./log_drains.js";

const LOOK_EVERY = 5_000; // milliseconds

export async function render({ params, signal, title }) {
  const path = `/api/v1/log-drains/${params.id}`;
  let drain = (await get(path, { signal })).data;
  const facts = h("div", null);
  const buttons = h("div", { class: "row" });
  const heading = h("h1", null);

  function show() {
    title(drain.name);
    replace(heading, drain.name);
    replace(
      facts,
      h(
        "dl",
        { class: "facts" },
        h("dt", null, "State"), h("dd", null, health(drain), drain.next_at !== null && h("span", { class: "muted small" }, " tried again ", moment(drain.next_at))),
        drain.last_error !== null && [h("dt", null, "Last error"), h("dd", null, sentence(drain.last_error))],
        h("dt", null, "URL"), h("dd", null, h("code", null, drain.url)),
        drain.kind === "http" && [h("dt", null, "Body"), h("dd", null, drain.format === "json" ? "A JSON array" : "A line of JSON for each record")],
        drain.headers.length > 0 && [h("dt", null, "Headers"), h("dd", null, drain.headers.map((name) => [h("code", null, name), " "]))],
        h("dt", null, "Sends"), h("dd", null, drain.errors_only ? "requests that failed or were refused" : "every request"),
        h("dt", null, "Sent"), h("dd", null, `${number(drain.delivered)} records`),
        h("dt", null, "Lost"), h("dd", null, drain.lost === 0 ? "none" : `${number(drain.lost)} records, which it did not take in time`),
        h("dt", null, "Last try"), h("dd", null, drain.last_at === null ? "nothing yet" : moment(drain.last_at)),
      ),
    );
    replace(
      buttons,
      writeButton("Send a test", test, { kind: "primary" }),
      writeButton(drain.state === "paused" ? "Resume" : "Pause", pause),
      writeButton("Change", change),
      drain.kind === "http" && writeButton("New secret", rotate),
      writeButton("Delete", drop, { kind: "danger" }),
    );
  }

  async function test() {
    const { delivered, status, error } = (await post(`${path}/test`)).data;
    if (delivered) toast("It took the test");
    else toast(error === null ? `It answered ${status}.` : sentence(error), "bad");
  }

  async function pause() {
    drain = (await patch(path, { state: drain.state === "paused" ? "active" : "paused" })).data;
    show();
    toast(drain.state === "paused" ? "Paused: what happens now is not sent later" : "It goes on with the requests from now on");
    buttons.querySelectorAll("button")[1].focus();
  }

  async function change() {
    const found = await dialog({
      title: "Change the log drain",
      body: (close) => logDrainForm({ drain, close, action: "Save", submit: async (body) => close((await patch(path, body)).data) }),
    });
    if (found === null) return;
    drain = found;
    show();
    toast("Log drain changed");
  }

  async function rotate() {
    let made = null;
    await confirm({ title: "Make a new secret?", text: "For a day batches are signed with the old one too, so that receivers can be changed one after the other.", action: "Make a new secret", work: async () => { made = (await patch(path, { rotate_secret: true })).data; } });
    if (made !== null) await showOnce({ title: "New secret", text: "From now on each batch is signed with:", secret: made.secret, what: "the secret", copyable });
  }

  async function drop() {
    const done = await confirm({ title: "Delete this log drain?", text: `${drain.name} sends nothing any more, also not what it has not sent yet.`, action: "Delete log drain", work: () => remove(path) });
    if (!done) return;
    toast("Log drain deleted");
    navigate("/log-drains");
  }

  async function look() {
    if (document.hidden || buttons.querySelector("[aria-busy]") !== null) return;
    const found = (await get(path, { signal })).data;
    if (JSON.stringify(found) === JSON.stringify(drain)) return;
    const changed = found.state !== drain.state;
    drain = found;
    if (changed || !buttons.contains(document.activeElement)) show();
  }

  show();
  const timer = setInterval(() => look().catch(() => {}), LOOK_EVERY); // what a button asks for says what is wrong
  signal.addEventListener("abort", () => clearInterval(timer));
  return [
    h("p", { class: "crumb" }, h("a", { href: "#/log-drains" }, "Log drains")),
    h("div", { class: "spread" }, heading, buttons),
    h("section", { class: "card", "aria-label": "Settings" }, facts),
  ];
}

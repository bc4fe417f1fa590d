// Capturing requests: on for a while, off, and off with all that was captured deleted.
import { h } from "./dom.js";
import { get, put, remove } from "./api.js";
import { badge, exact, moment } from "./format.js";
import { errorBox, toast, writeButton } from "./feedback.js";
import { confirm, dialog } from "./dialog.js";
import { form } from "./form.js";
import { renew } from "./table.js";

const LENGTHS = [["300", "5 minutes"], ["900", "15 minutes"], ["3600", "An hour"]];

/** A section with whether a resource's requests are captured: {node, load()}. */
export function capture(path, resource, signal) {
  const url = `${path}/request-capture`;
  const content = h("div", { class: "stack" });
  const node = h("section", { class: "card", "aria-label": "Request capture" }, h("h2", null, "Request capture"), content);

  let ending = 0; // looks again when capturing has ended by itself
  signal.addEventListener("abort", () => clearTimeout(ending));

  async function load() {
    try {
      show((await get(url, { signal })).data);
    } catch (error) {
      if (error.name === "AbortError") return;
      renew(content, errorBox(error, load));
    }
  }

  function show(found) {
    const { active, ends_at: until } = found;
    clearTimeout(ending);
    if (active) ending = setTimeout(load, new Date(until).getTime() - Date.now() + 1_000);
    renew(
      content,
      h("p", { class: "muted" }, "Keeps headers and the beginning of bodies with each request's record, with secrets masked. It ends by itself."),
      h(
        "div",
        { class: "spread" },
        h("p", null, active ? [badge("on", "on", "good"), " until ", exact(until), " (", moment(until), ")"] : [badge("off", "off", "plain"), until !== null && [" since ", moment(until), ", when it ended by itself"]]),
        h(
          "div",
          { class: "row" },
          writeButton(active ? "Capture for longer" : "Capture requests", start, { kind: active ? "" : "primary" }),
          active && writeButton("Stop capturing", stop),
          writeButton("Delete captures…", purge, { kind: "danger" }),
        ),
      ),
      h("p", null, h("a", { href: `#/requests?resource_id=${resource.id}` }, "See its requests")),
    );
  }

  async function start() {
    const found = await dialog({
      title: "Capture requests",
      body: (close) =>
        form({
          fields: [{ name: "duration_seconds", label: "For", kind: "select", value: "900", options: LENGTHS, hint: "It counts from now." }],
          action: "Capture",
          cancel: () => close(),
          submit: async ({ duration_seconds: seconds }) => close((await put(url, { duration_seconds: Number(seconds) })).data),
        }),
    });
    if (found === null) return;
    show(found);
    toast("Requests are captured from now on");
  }

  async function stop() {
    show((await remove(url)).data);
    toast("Capturing has stopped");
  }

  async function purge() {
    let found = null;
    await confirm({ title: "Delete all captures?", text: "Capturing stops, and headers and bodies that were captured of this resource are deleted at once. Records of its requests stay.", action: "Delete captures", work: async () => { found = (await remove(url, { query: { purge: "true" } })).data; } });
    if (found === null) return;
    show(found);
    toast("Captures deleted");
  }

  return { node, load };
}

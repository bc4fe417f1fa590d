// The ports of a sandbox or computer: exposed, changed, shared, closed.
import { h } from "./dom.js";
import { get, patch, post, remove } from "./api.js";
import { badge, moment } from "./format.js";
import { copyable, toast, writeButton } from "./feedback.js";
import { confirm, dialog } from "./dialog.js";
import { form } from "./form.js";
import { emptyState, pagedList } from "./table.js";
import { portTokens } from "./port_tokens.js";
import { passwordWords, removePassword, setPassword, share } from "./shares.js";
import { KINDS, VISIBILITIES, visibilityChoices } from "./resources.js";

/** A section with the ports: {node, load()}. `resource()` is the resource as it is now, `changed()` is called when its ports have changed. */
export function ports({ kind, path, resource, signal, changed }) {
  const one = KINDS[kind].one;
  const all = `${path}/${kind === "sandboxes" ? "previews" : "ports"}`;
  const pathOf = (port) => `${all}/${kind === "sandboxes" ? port.id : port.port}`;
  const list = pagedList({
    noun: "ports",
    load: ({ page }) => get(all, { query: { page }, signal }),
    show: (rows) => h("ul", { class: "stack" }, rows.map((port) => h("li", null, card(port)))),
    empty: () => emptyState({ title: "No port has settings of its own", text: "Expose the port that your program listens on: it gets a host, and you say who gets in.", action: writeButton("Expose your first port", () => expose(), { kind: "primary" }) }),
  });

  async function again() {
    await list.reload();
    changed();
  }

  function card(port) {
    const name = `port ${port.port}`;
    const label = (words) => ({ "aria-label": `${words}: ${name}` });
    const url = port.stable_for_embedding ? port.url : port.fallback_url;
    const links = port.visibility !== "public" && port.visibility !== "key";
    return h(
      "article",
      { class: "card", "aria-label": `Port ${port.port}` },
      h("div", { class: "row" }, h("h3", null, `Port ${port.port}`), port.name !== null && h("span", null, port.name), badge(port.visibility, port.visibility, "plain"), port.port === resource().default_port && badge("default"), port.state !== "active" && badge(port.state)),
      h("p", null, copyable(url, `the URL of ${name}`)),
      h("p", { class: "muted small" }, "Who gets in: ", VISIBILITIES[port.visibility] ?? port.visibility, ".", port.expires_at !== null && [" Ends ", moment(port.expires_at), "."], port.networks.length > 0 && ` Only from ${port.networks.join(", ")}.`),
      port.hints.map((hint) => h("div", { class: "notice info" }, h("p", null, hint))),
      port.errors.map((error) => h("div", { class: "notice warn" }, h("p", null, error.message), h("p", { class: "small" }, `${error.count} times, last `, moment(error.last_at)))),
      links && h("p", { class: "small" }, port.share_token_prefix === null ? "No share link works now." : ["Newest share link ", h("code", null, port.share_token_prefix), "…, ends ", moment(port.share_token_expires_at), "."]),
      port.has_password && passwordWords(port),
      h(
        "div",
        { class: "row" },
        writeButton("Change", () => change(port), label("Change")),
        links && writeButton("Create share link", async () => { if (await share(`${pathOf(port)}/share`, { field: "ttl_seconds", opens: name })) await again(); }, label("Create share link")),
        port.share_token_prefix !== null && writeButton("End share links", () => unshare(port), { ...label("End share links"), kind: "danger" }),
        links && writeButton(port.has_password ? "Change password" : "Set a password", async () => { if (await setPassword(`${pathOf(port)}/password`, name)) await again(); }, label(port.has_password ? "Change password" : "Set a password")),
        port.has_password && writeButton("Remove password", async () => { if (await removePassword(`${pathOf(port)}/password`, name)) await again(); }, { ...label("Remove password"), kind: "danger" }),
        writeButton("Close port", () => shut(port), { ...label("Close port"), kind: "danger" }),
      ),
      port.visibility !== "public" && portTokens(`${pathOf(port)}/tokens`, port.port, signal, changed),
    );
  }

  async function expose() {
    const done = await dialog({
      title: "Expose a port",
      body: (close) =>
        form({
          fields: [
            { name: "port", label: "Port", kind: "number", required: true, hint: "What your program listens on." },
            { name: "name", label: "Name", hint: "What it is: “web”, “admin”." },
            { name: "visibility", label: "Who gets in", kind: "select", value: "", options: visibilityChoices(`As the ${one} says`) },
          ],
          action: "Expose port",
          cancel: () => close(),
          submit: async ({ port, name, visibility }) => {
            await post(all, { port: Number(port), ...(name === "" ? {} : { name }), ...(visibility === "" ? {} : { visibility }) });
            close(Number(port));
          },
        }),
    });
    if (done === null) return;
    toast(`Port ${done} is exposed`);
    await again();
  }

  async function change(port) {
    const done = await dialog({
      title: `Change port ${port.port}`,
      body: (close) =>
        form({
          fields: [
            // The API says what holds, not whether it is the port's own: what is not chosen anew is not sent.
            { name: "visibility", label: "Who gets in", kind: "select", value: port.visibility, options: visibilityChoices(`As the ${one} says`) },
            { name: "name", label: "Name", value: port.name ?? "" },
          ],
          action: "Save",
          cancel: () => close(),
          submit: async ({ visibility, name }) => {
            await patch(pathOf(port), { name: name || null, ...(visibility === port.visibility ? {} : { visibility: visibility || null }) });
            close(true);
          },
        }),
    });
    if (done === null) return;
    toast(`Port ${port.port} changed`);
    await again();
  }

  async function setDefault() {
    const done = await dialog({
      title: "Default port",
      body: (close) =>
        form({
          fields: [{ name: "default_port", label: "Default port", kind: "number", value: resource().default_port ?? "", hint: "What hosts without a port lead to. Empty: the port that was exposed first." }],
          action: "Save",
          cancel: () => close(),
          submit: async ({ default_port: port }) => {
            await patch(path, { default_port: port === "" ? null : Number(port) });
            close(true);
          },
        }),
    });
    if (done === null) return;
    toast("Default port changed");
    await again();
  }

  async function unshare(port) {
    const done = await confirm({ title: `End the share links of port ${port.port}?`, text: "All links of this port end, and who came in by one is out. Named tokens stay.", action: "End share links", work: () => remove(`${pathOf(port)}/share`) });
    if (!done) return;
    toast("Share links ended");
    await again();
  }

  async function shut(port) {
    const done = await confirm({ title: `Close port ${port.port}?`, text: `Its tokens and links end. Where it is the default port, or the organization exposes every port, it stays reachable for whom the ${one} lets in.`, action: "Close port", work: () => remove(pathOf(port)) });
    if (!done) return;
    toast(`Port ${port.port} closed`);
    await again();
  }

  const node = h("section", { class: "stack", "aria-label": "Ports" }, h("div", { class: "spread" }, h("h2", null, "Ports"), h("div", { class: "row" }, writeButton("Default port…", setDefault), writeButton("Expose port", expose, { kind: "primary" }))), list.node);
  return { node, load: list.reload };
}

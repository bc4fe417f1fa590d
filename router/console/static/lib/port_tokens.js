// Named tokens of one port, for programs: listed when they are asked for, made, shown once, revoked.
import { h } from "./dom.js";
import { get, post, remove } from "./api.js";
import { badge, moment } from "./format.js";
import { copyable, toast, writeButton } from "./feedback.js";
import { confirm, dialog, showOnce } from "./dialog.js";
import { form } from "./form.js";
import { mayWrite } from "./session.js";
import { pagedList, table } from "./table.js";

/** A part that opens. `changed()` is called when a token was made or revoked. */
export function portTokens(url, port, signal, changed) {
  const list = pagedList({
    noun: "named tokens",
    load: ({ page }) => get(url, { query: { page }, signal }),
    show: (rows) => table({ caption: `Named tokens of port ${port}`, columns, rows }),
    empty: () => h("p", { class: "muted" }, "None yet. Make one for each program that calls this port: it sends it as the header ", h("code", null, "X-Miosa-Preview-Token"), "."),
  });
  const columns = [
    { title: "Name", cell: (token) => h("strong", null, token.name) },
    { title: "Begins with", kind: "short", cell: (token) => h("code", null, token.prefix) },
    { title: "Ends", cell: (token) => (token.revoked_at !== null ? badge("revoked") : moment(token.expires_at)) },
    { title: "Last used", kind: "short", cell: (token) => moment(token.last_used_at) },
    mayWrite() && { title: "Actions", kind: "actions", cell: (token) => token.revoked_at === null && h("button", { type: "button", class: "danger", "aria-label": `Revoke token ${token.name} of port ${port}`, onclick: () => revoke(token) }, "Revoke") },
  ];

  async function create() {
    const made = await dialog({
      title: `Create a token of port ${port}`,
      body: (close) =>
        form({
          fields: [
            { name: "name", label: "Name", required: true, hint: "Which program uses it." },
            { name: "expires_at", label: "Ends", kind: "datetime-local", hint: "In your time zone. Without it the token works until somebody revokes it." },
          ],
          action: "Create token",
          cancel: () => close(),
          submit: async ({ name, expires_at: until }) => close((await post(url, { name, ...(until === "" ? {} : { expires_at: new Date(until).toISOString() }) })).data),
        }),
    });
    if (made === null) return;
    await list.reload();
    changed();
    await showOnce({ title: "Token created", text: `The token “${made.name}” of port ${port}:`, secret: made.token, what: "the token", copyable });
  }

  async function revoke(token) {
    const done = await confirm({ title: `Revoke the token ${token.name}?`, text: "It opens nothing from that moment on, and what was opened by it is closed.", action: "Revoke token", work: () => remove(`${url}/${token.id}`) });
    if (!done) return;
    toast(`Token ${token.name} revoked`);
    await list.reload();
    changed();
  }

  return h(
    "details",
    { ontoggle: (event) => { if (event.target.open) list.reload(); } },
    h("summary", null, `Named tokens of port ${port}`),
    h("div", { class: "stack" }, list.node, h("div", { class: "row" }, writeButton("Create token", create, { "aria-label": `Create token: port ${port}` }))),
  );
}

// The tenant's API keys: made, shown once, renamed, rotated and revoked.
import { h } from "../lib/dom.js";
import { get, patch, post, remove } from "../lib/api.js";
import { badge, moment } from "../lib/format.js";
import { copyable, toast, writeButton } from "../lib/feedback.js";
import { confirm, dialog, showOnce } from "../lib/dialog.js";
import { emptyState, pagedList, table } from "../lib/table.js";
import { form } from "../lib/form.js";
import { everything } from "../lib/places.js";
import { mayWrite } from "../lib/session.js";

export async function render({ signal, who }) {
  const places = await everything(signal); // workspaces and projects by id, for scopes in words
  const list = pagedList({
    noun: "API keys",
    load: ({ page }) => get("/api/v1/api-keys", { query: { page }, signal }),
    show: (rows) => table({ caption: "API keys", columns, rows }),
    empty: () => emptyState({ title: "No API keys", text: "Make a key for each program that calls the API, so that one can be revoked without the others." }),
  });

  const columns = [
    { title: "Name", cell: (key) => [h("strong", null, key.name), key.id === who.key_id && [" ", badge("this", "this session")]] },
    { title: "Begins with", kind: "short", cell: (key) => h("code", null, key.prefix) },
    { title: "Reaches", cell: (key) => places.scope(key.scope) },
    { title: "Last used", cell: (key) => moment(key.last_used_at) },
    { title: "Expires", cell: (key) => moment(key.expires_at) },
    { title: "State", cell: (key) => badge(stateOf(key)) },
    mayWrite() && {
      title: "Actions",
      kind: "actions",
      cell: (key) => key.revoked_at === null && [
        h("button", { type: "button", "aria-label": `Rename ${key.name}`, onclick: () => rename(key) }, "Rename"),
        h("button", { type: "button", "aria-label": `Rotate ${key.name}`, onclick: () => rotate(key) }, "Rotate"),
        h("button", { type: "button", class: "danger", "aria-label": `Revoke ${key.name}`, onclick: () => revoke(key) }, "Revoke"),
      ],
    },
  ];

  async function create() {
    const made = await dialog({
      title: "Create an API key",
      body: (close) =>
        form({
          fields: [
            { name: "name", label: "Name", required: true, hint: "Which program uses it: “ci”, “billing worker”." },
            { name: "scope", label: "Reaches", kind: "select", value: "tenant", options: places.scopes, hint: "A key of a workspace or project sees and changes nothing outside of it." },
            { name: "expires_at", label: "Expires", kind: "datetime-local", hint: "In your time zone. Without it the key is valid until somebody revokes it." },
          ],
          aliases: { scopes: "scope" },
          action: "Create key",
          cancel: () => close(),
          submit: async ({ name, scope, expires_at: until }) => {
            const body = { name, scope, ...(until === "" ? {} : { expires_at: new Date(until).toISOString() }) };
            close((await post("/api/v1/api-keys", body)).data);
          },
        }),
    });
    if (made !== null) await shown(made, "API key created");
  }

  async function shown(key, title) {
    list.reload();
    await showOnce({ title, text: `The key “${key.name}”:`, secret: key.key, what: "the API key", copyable });
  }

  async function rename(key) {
    await dialog({
      title: `Rename ${key.name}`,
      body: (close) =>
        form({
          fields: [{ name: "name", label: "Name", required: true, value: key.name }],
          action: "Rename",
          cancel: () => close(),
          submit: async ({ name }) => {
            await patch(`/api/v1/api-keys/${key.id}`, { name });
            close();
            toast("Key renamed");
            list.reload();
          },
        }),
    });
  }

  async function rotate(key) {
    let made = null;
    await confirm({
      title: `Rotate ${key.name}?`,
      text: `You get a new key, and the one before opens nothing from that moment on.${key.id === who.key_id ? " It is the key of this session: you will be logged out." : ""}`,
      action: "Rotate key",
      work: async () => { made = (await post(`/api/v1/api-keys/${key.id}/rotate`)).data; },
    });
    if (made !== null) await shown(made, "API key rotated");
  }

  async function revoke(key) {
    const done = await confirm({
      title: `Revoke ${key.name}?`,
      text: `Programs with this key get 401 from that moment on. This can't be undone.${key.id === who.key_id ? " It is the key of this session: you will be logged out." : ""}`,
      action: "Revoke key",
      work: () => remove(`/api/v1/api-keys/${key.id}`),
    });
    if (done) {
      toast(`Key ${key.name} revoked`);
      list.reload();
    }
  }

  await list.reload();
  return [
    h("div", { class: "spread" }, h("h1", null, "API keys"), writeButton("Create API key", create, { kind: "primary" })),
    h("p", { class: "lead" }, "Keys let programs call the API and this console. Each is shown once; only its hash is kept."),
    list.node,
  ];
}

function stateOf(key) {
  if (key.revoked_at !== null) return "revoked";
  return key.expires_at !== null && new Date(key.expires_at) <= new Date() ? "expired" : "active";
}

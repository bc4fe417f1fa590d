// Share links, and the password that people type who have no link: of one port, or of a whole resource.
import { h } from "./dom.js";
import { get, post, put, remove } from "./api.js";
import { badge, moment } from "./format.js";
import { copyable, errorBox, toast, writeButton } from "./feedback.js";
import { confirm, dialog, showOnce } from "./dialog.js";
import { form } from "./form.js";
import { mayWrite } from "./session.js";
import { emptyState, pagedList, renew, table } from "./table.js";

const LENGTHS = [["3600", "An hour"], ["86400", "A day"], ["604800", "A week"], ["2592000", "30 days"]];

/** Make a share link: asks for how long, and shows it once. `field` is what the API calls the seconds. True where one was made. */
export async function share(url, { field, opens }) {
  const made = await dialog({
    title: "Create a share link",
    body: (close) =>
      form({
        fields: [
          { name: field, label: "Works for", kind: "select", value: "3600", options: LENGTHS, hint: `It opens ${opens} for whoever follows it.` },
          { name: "once", label: "For one visitor only", kind: "checkbox", value: false },
        ],
        action: "Create link",
        cancel: () => close(),
        submit: async (values) => close((await post(url, { [field]: Number(values[field]), once: values.once })).data),
      }),
  });
  if (made === null) return false;
  await showOnce({ title: "Share link created", text: `It opens ${opens}:`, secret: made.share_url, what: "the share link", copyable, keep: "pass it on now" });
  return true;
}

/** A section with the share links of a whole sandbox: {node, load()}. `changed()` is called when one was made or ended. */
export function sandboxShares(path, signal, changed) {
  const url = `${path}/shares`;
  const list = pagedList({
    noun: "share links",
    load: ({ page }) => get(url, { query: { page }, signal }),
    show: (rows) => table({ caption: "Share links of the whole sandbox", columns, rows }),
    empty: () => emptyState({ title: "No share links", text: "A link of the whole sandbox opens every port of it, for as long as you say. It is shown once.", action: writeButton("Create the first share link", create) }),
  });
  const columns = [
    { title: "Begins with", cell: (link) => [h("code", null, link.share_token_prefix), link.once && [" ", badge("once", "one visitor", "plain")]] },
    { title: "Created", kind: "short", cell: (link) => moment(link.created_at) },
    { title: "Ends", kind: "short", cell: (link) => moment(link.expires_at) },
    { title: "Last used", kind: "short", cell: (link) => moment(link.last_used_at) },
    mayWrite() && { title: "Actions", kind: "actions", cell: (link) => h("button", { type: "button", class: "danger", "aria-label": `Revoke share link ${link.share_token_prefix}`, onclick: () => revoke(link) }, "Revoke") },
  ];

  async function again() {
    await list.reload();
    changed();
  }

  async function create() {
    if (await share(url, { field: "expires_in", opens: "every port of this sandbox that takes links" })) await again();
  }

  async function revoke(link) {
    const done = await confirm({ title: `Revoke the share link ${link.share_token_prefix}…?`, text: "It opens nothing any more, and who came in by it is out.", action: "Revoke link", work: () => remove(`${url}/${link.share_id}`) });
    if (!done) return;
    toast("Share link revoked");
    await again();
  }

  const node = h("section", { class: "stack", "aria-label": "Share links" }, h("div", { class: "spread" }, h("h2", null, "Share links of the whole sandbox"), writeButton("Create share link", create)), list.node);
  return { node, load: list.reload };
}

/** A section with the password of a whole sandbox or computer: {node, load()}. `changed()` is called when it was set or removed. */
export function resourcePassword(path, one, signal, changed) {
  const url = `${path}/password`;
  const content = h("div", { class: "stack" });
  const node = h("section", { class: "card", "aria-label": "Password" }, h("h2", null, `Password of the whole ${one}`), content);

  async function load() {
    try {
      show((await get(url, { signal })).data);
    } catch (error) {
      if (error.name !== "AbortError") renew(content, errorBox(error, load));
    }
  }

  async function again() {
    await load();
    changed();
  }

  function show(found) {
    renew(
      content,
      h("p", { class: "muted" }, "It opens every port that has no password of its own, for people. Public ports and those for programs take none."),
      h(
        "div",
        { class: "spread" },
        passwordWords(found),
        h("div", { class: "row" }, writeButton(found.has_password ? "Change password" : "Set a password", async () => { if (await setPassword(url, `the whole ${one}`)) await again(); }), found.has_password && writeButton("Remove password", async () => { if (await removePassword(url, `the whole ${one}`)) await again(); }, { kind: "danger" })),
      ),
    );
  }
  return { node, load };
}

/** What is known of a password. */
export function passwordWords({ has_password: has, password_set_at: set, password_expires_at: until, password_last_used_at: used }) {
  if (!has) return h("p", null, "No password is set.");
  return h("p", null, "Set ", moment(set), ", last used ", moment(used), until !== null && [", ends ", moment(until)], ".");
}

/** Ask for a password and set it. True where it was set. */
export async function setPassword(url, where) {
  const done = await dialog({
    title: "Set the password",
    body: (close) =>
      form({
        fields: [
          { name: "password", label: "Password", kind: "password", required: true, autocomplete: "new-password", hint: `8 to 256 characters, for ${where}. It takes the place of the one before, and nobody can read it later.` },
          { name: "expires_at", label: "Ends", kind: "datetime-local", hint: "In your time zone. Without it the password works until somebody removes it." },
        ],
        action: "Set password",
        cancel: () => close(),
        submit: async ({ password, expires_at: until }) => {
          await put(url, { password, ...(until === "" ? {} : { expires_at: new Date(until).toISOString() }) });
          close(true);
        },
      }),
  });
  if (done) toast("Password set");
  return done === true;
}

/** True where it was removed. */
export async function removePassword(url, where) {
  const done = await confirm({ title: "Remove the password?", text: `Who came in by the password of ${where} is out.`, action: "Remove it", work: () => remove(url) });
  if (done) toast("Password removed");
  return done === true;
}

// A deployment's variables: what the platform gives to the program. Secret ones are never shown.
import { h } from "./dom.js";
import { get, post, remove } from "./api.js";
import { badge, moment } from "./format.js";
import { toast, writeButton } from "./feedback.js";
import { confirm, dialog } from "./dialog.js";
import { form } from "./form.js";
import { mayWrite } from "./session.js";
import { emptyState, pagedList, table } from "./table.js";

/** A section: {node, load()}. */
export function variables(path, signal) {
  const url = `${path}/env`;
  const list = pagedList({
    noun: "variables",
    load: ({ page }) => get(url, { query: { page }, signal }),
    show: (rows) => table({ caption: "Variables", columns, rows }),
    empty: () => emptyState({ title: "No variables", text: "Set what the program reads from its environment, such as DATABASE_URL. Secret values are never shown again.", action: writeButton("Set the first variable", () => set()) }),
  });
  const columns = [
    { title: "Name", cell: (variable) => h("code", null, variable.name) },
    { title: "Value", kind: "wide", cell: (variable) => (variable.secret ? badge("secret", "secret", "plain") : h("code", null, variable.value)) },
    { title: "Environment", cell: (variable) => variable.environment },
    { title: "Changed", kind: "short", cell: (variable) => moment(variable.updated_at) },
    mayWrite() && {
      title: "Actions",
      kind: "actions",
      cell: (variable) => [
        h("button", { type: "button", "aria-label": `Change ${variable.name} of ${variable.environment}`, onclick: () => set(variable) }, "Change"),
        h("button", { type: "button", class: "danger", "aria-label": `Delete ${variable.name} of ${variable.environment}`, onclick: () => drop(variable) }, "Delete"),
      ],
    },
  ];

  async function set(variable = null) {
    const done = await dialog({
      title: variable === null ? "Set a variable" : `Change ${variable.name}`,
      body: (close) =>
        form({
          fields: [
            ...(variable === null ? [{ name: "name", label: "Name", required: true, placeholder: "DATABASE_URL" }] : []),
            { name: "value", label: "Value", kind: "textarea", value: variable?.value ?? "", hint: "A program that runs sees it after its next start." },
            ...(variable === null ? [{ name: "environment", label: "Environment", required: true, value: "production" }] : []),
            ...(variable?.secret ? [] : [{ name: "secret", label: "Secret: its value is never shown again, and it stays secret", kind: "checkbox", value: false }]),
          ],
          aliases: { env: "value", secrets: "name" },
          action: "Set variable",
          cancel: () => close(),
          submit: async ({ name = variable?.name, value, environment = variable?.environment, secret }) => {
            await post(url, { env: { [name]: value }, environment, ...(secret ? { secret: true } : {}) });
            close(name);
          },
        }),
    });
    if (done === null) return;
    toast(`${done} is set`);
    await list.reload();
  }

  async function drop(variable) {
    const done = await confirm({ title: `Delete ${variable.name}?`, text: `The program in ${variable.environment} does without it from its next start on.`, action: "Delete variable", work: () => remove(`${url}/${encodeURIComponent(variable.name)}`, { query: { environment: variable.environment } }) });
    if (!done) return;
    toast(`${variable.name} deleted`);
    await list.reload();
  }

  const node = h("section", { class: "stack", "aria-label": "Variables" }, h("div", { class: "spread" }, h("h2", null, "Variables"), writeButton("Set variable", () => set())), list.node);
  return { node, load: list.reload };
}

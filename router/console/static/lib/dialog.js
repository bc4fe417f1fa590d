// Modal dialogs: the browser's own, which keep the focus inside, close by Escape and give the focus back.
import { h, freshId } from "./dom.js";
import { actionButton } from "./feedback.js";

/** Open one. `body` is a node or a function of `close`; answers with what `close(value)` was given, null by Escape. */
export function dialog({ title, body, wide = false, dismissable = true }) {
  const { promise, resolve } = Promise.withResolvers();
  const before = document.activeElement;
  const id = freshId("dialog");
  const node = h("dialog", { class: wide ? "wide" : "", "aria-labelledby": id });
  let closed = false;
  const close = (value = null) => {
    if (closed) return;
    closed = true;
    node.close();
    node.remove();
    if (before?.isConnected) before.focus();
    resolve(value);
  };
  node.append(
    h("header", null, h("h2", { id }, title), dismissable && h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => close() }, "×")),
    h("div", { class: "stack" }, typeof body === "function" ? body(close) : body),
  );
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    if (dismissable) close();
  });
  // A browser may close it otherwise, as by the Back gesture of a phone.
  node.addEventListener("close", () => {
    if (!closed && dismissable) close();
    else if (!closed && node.isConnected) node.showModal();
  });
  document.body.append(node);
  node.showModal();
  // In a question without a field that is Cancel: Enter alone deletes nothing.
  ["input, select, textarea", "button.primary", ".actions button", "button"].map((one) => node.querySelector(one)).find((one) => one !== null)?.focus();
  return promise;
}

/**
 * Ask before something that can't be undone. `work` runs while the dialog is open, and closes it when it is done; what goes wrong is shown
 * inside. `typed` is a name that has to be typed first.
 */
export function confirm({ title, text, action, work, typed = null }) {
  return dialog({
    title,
    body: (close) => {
      const problem = h("div", null);
      const id = freshId("typed");
      const input = typed === null ? null : h("input", { id, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
      const button = actionButton(
        action,
        async () => {
          if (input !== null && input.value.trim() !== typed) {
            problem.replaceChildren(h("p", { class: "field-error", role: "alert" }, `Type ${typed} to go on.`));
            input.focus();
            return;
          }
          await work();
          close(true);
        },
        { kind: "danger", failed: (error) => problem.replaceChildren(h("p", { class: "field-error", role: "alert" }, error.message)) },
      );
      return [
        h("p", null, text),
        input && h("div", { class: "field" }, h("label", { for: id }, "Type ", h("code", null, typed), " to confirm"), input),
        problem,
        h("div", { class: "actions" }, h("button", { type: "button", onclick: () => close() }, "Cancel"), button),
      ];
    },
  });
}

/** Show a secret that is shown this once: closed by its button alone. */
export function showOnce({ title, text, secret, what, copyable, keep = "keep it where your program reads its secrets" }) {
  return dialog({
    title,
    dismissable: false,
    body: (close) => [
      h("p", null, text),
      h("div", { class: "secret" }, copyable(secret, what)),
      h("p", { class: "muted" }, `It is not shown again: ${keep}.`),
      h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => close(true) }, "I have kept it")),
    ],
  });
}

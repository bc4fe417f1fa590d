// Forms: labelled fields, and the API's messages at the fields that they are about.
import { h, freshId, replace } from "./dom.js";
import { ApiError } from "./api.js";
import { busy, errorBox, sentence, announce } from "./feedback.js";

/**
 * A form. `fields`: [{name, label, hint, kind, options, value, required, placeholder, autocomplete}]; `kind` is "text", "password", "url",
 * "number", "select", "textarea", "checkbox", "checkboxes" or "datetime-local".
 * `submit(values)` runs at the button `action`; the messages of an ApiError's `fields` go to the fields, the rest above them. `aliases` says
 * which field an API's name is about, where it is not the field's own.
 */
export function form({ fields, submit, action, cancel = null, aliases = {}, kind = "primary" }) {
  const problem = h("div", null);
  const parts = new Map(fields.map((field) => [field.name, part(field)]));
  const button = h("button", { type: "submit", class: kind }, action);

  function failed(error) {
    if (!(error instanceof ApiError) || Object.keys(error.fields).length === 0) return replace(problem, errorBox(error));
    const homeless = [];
    let first = null;
    for (const [name, messages] of Object.entries(error.fields)) {
      const own = parts.get(aliases[name] ?? name) ?? parts.get(name.split(".")[0]);
      if (own === undefined) homeless.push(`${name} ${messages.join(", ")}`);
      else {
        own.complain(messages.map((message) => sentence(/^\p{Lu}/u.test(message) ? message : `${own.label} ${message}`)).join(" "));
        first ??= own;
      }
    }
    replace(problem, homeless.length > 0 && h("div", { class: "notice bad", role: "alert" }, h("p", null, sentence(homeless.join("; ")))));
    announce("The form has errors");
    first?.focus();
  }

  return h(
    "form",
    {
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        replace(problem);
        parts.forEach((own) => own.complain(""));
        const empty = [...parts.values()].filter((own) => own.required && own.read() === "");
        if (empty.length > 0) {
          empty.forEach((own) => own.complain(`${own.label} can't be empty.`));
          empty[0].focus();
          return;
        }
        busy(button, () => submit(Object.fromEntries([...parts].map(([name, own]) => [name, own.read()]))), failed);
      },
    },
    problem,
    [...parts.values()].map((own) => own.node),
    h("div", { class: "actions" }, cancel && h("button", { type: "button", onclick: cancel }, "Cancel"), button),
  );
}

function part({ name, label, hint = null, kind = "text", options = [], value = "", required = false, placeholder = null, autocomplete = "off" }) {
  const id = freshId(name);
  const error = h("p", { class: "field-error", id: `${id}-error`, role: "alert" });
  const described = [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  const shared = { id, name, "aria-describedby": described, "aria-required": required ? "true" : null };
  const text = hint && h("p", { class: "hint", id: `${id}-hint` }, hint);
  if (kind === "checkboxes") return checkboxes({ name, label, options, value, text, error, described });
  let input;
  if (kind === "select") {
    input = h("select", shared, options.map(([choice, words]) => h("option", { value: choice, selected: choice === value }, words)));
  } else if (kind === "textarea") {
    input = h("textarea", { ...shared, rows: 6, spellcheck: "false", placeholder, value });
  } else if (kind === "checkbox") {
    input = h("input", { ...shared, type: "checkbox", checked: value === true });
  } else {
    input = h("input", { ...shared, type: kind, value, placeholder, autocomplete, spellcheck: "false", autocapitalize: "none" });
  }
  const words = h("label", { for: id }, label, !required && kind !== "checkbox" && kind !== "select" ? h("span", { class: "muted" }, " (optional)") : null);
  const node = kind === "checkbox" ? h("div", { class: "field check" }, h("div", null, input, words), text, error) : h("div", { class: "field" }, words, text, input, error);
  return {
    node, label, required,
    read: () => (kind === "checkbox" ? input.checked : kind === "password" ? input.value : input.value.trim()),
    focus: () => input.focus(),
    complain(message) {
      replace(error, message);
      input.setAttribute("aria-invalid", message === "" ? "false" : "true");
    },
  };
}

function checkboxes({ name, label, options, value, text, error, described }) {
  const boxes = options.map(([choice, words]) => {
    const id = freshId(name);
    const box = h("input", { type: "checkbox", id, value: choice, checked: value.includes(choice) });
    return { box, node: h("div", { class: "check" }, box, h("label", { for: id }, words)) };
  });
  return {
    node: h("fieldset", { "aria-describedby": described }, h("legend", null, label), text, h("div", { class: "choices" }, boxes.map((one) => one.node)), error),
    label,
    required: false,
    read: () => boxes.filter((one) => one.box.checked).map((one) => one.box.value),
    focus: () => boxes[0].box.focus(),
    complain: (message) => replace(error, message),
  };
}

// What the console says: toasts, errors, and the button that copies.
import { h, replace } from "./dom.js";
import { ApiError } from "./api.js";
import { mayWrite } from "./session.js";

/** Whether an error says that a check came too soon after the one before. */
export const tooSoon = (error) => error.status === 429 && error.retryAfter !== null && Number(error.retryAfter) <= 15;

const SHOWN_FOR = 6_000; // milliseconds

/** Tell people who listen instead of looking. */
export function announce(text) {
  const place = document.getElementById("announcements");
  replace(place, ""); // the same words again are announced again
  requestAnimationFrame(() => replace(place, text));
}

/** A short message at the edge, which goes by itself. */
export function toast(text, colour = "good") {
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => node.remove() }, "×");
  const node = h("div", { class: `toast ${colour}` }, h("span", null, text), close);
  replace(document.getElementById("toasts"), node); // the one before may no longer be true
  announce(text);
  let timer = setTimeout(() => node.remove(), SHOWN_FOR);
  node.addEventListener("pointerenter", () => clearTimeout(timer));
  node.addEventListener("pointerleave", () => { timer = setTimeout(() => node.remove(), SHOWN_FOR); });
}

/** What went wrong, as a sentence, with what support needs to find it. `retry` adds a button. */
export function errorBox(error, retry = null) {
  const known = error instanceof ApiError;
  if (!known) console.error(error);
  const message = known ? wording(error) : "The console made a mistake. Reload the page; if it stays, tell us what you did.";
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("p", null, sentence(message)),
    known && error.retryAfter !== null && h("p", null, `Try again in ${error.retryAfter} seconds.`),
    known && error.docsUrl !== null && h("p", null, h("a", { href: error.docsUrl, rel: "noreferrer" }, "What this means and what to do")),
    known && error.requestId !== null && h("p", { class: "muted small" }, "Request id ", h("code", null, error.requestId)),
    retry && h("button", { type: "button", onclick: retry }, "Try again"),
  );
}

/** What an API's error says to a person who has buttons in place of headers. */
function wording(error) {
  return tooSoon(error) ? "It was asked for a moment ago" : error.message;
}

/** With a capital and a full stop. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

/** Show an error that has no better place. */
export function toastError(error) {
  if (error?.name === "AbortError" || error?.status === 401) return;
  if (!(error instanceof ApiError)) console.error(error);
  if (!(error instanceof ApiError)) return toast("The console made a mistake. Reload the page.", "bad");
  const when = error.retryAfter !== null ? ` Try again in ${error.retryAfter} seconds.` : "";
  const id = error.requestId ? ` (request ${error.requestId})` : "";
  toast(sentence(wording(error)) + when + id, "bad");
}

/** A button that copies `text`. `what` says what it is: "value of the TXT record". */
export function copyButton(text, what) {
  const button = h("button", { type: "button", class: "quiet copy", "aria-label": `Copy ${what}`, title: `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    const copied = await copy(text, button);
    replace(button, copied ? "Copied" : "Not copied");
    announce(copied ? `Copied ${what}` : `The browser did not allow copying ${what}`);
    setTimeout(() => replace(button, "Copy"), 2_000);
  });
  return button;
}

/** Text to copy, with its button. */
export function copyable(text, what) {
  return h("span", { class: "copyable" }, h("code", null, text), copyButton(text, what));
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard without https: through a selection, inside the dialog where one is open.
    const place = h("textarea", { class: "visually-hidden", "aria-hidden": "true", value: text });
    (button.closest("dialog") ?? document.body).append(place);
    place.select();
    const copied = document.execCommand("copy");
    place.remove();
    button.focus();
    return copied;
  }
}

/** Run what a button does: it is off and busy meanwhile; what goes wrong becomes a toast, or goes to `failed`. */
export async function busy(button, work, failed = toastError) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } catch (error) {
    failed(error);
  } finally {
    button.removeAttribute("aria-busy");
    button.removeAttribute("aria-disabled");
  }
}

/** A button that runs `work` once at a time. */
export function actionButton(label, work, { kind = "", failed = toastError, ...attributes } = {}) {
  const button = h("button", { type: "button", class: kind, ...attributes }, label);
  button.addEventListener("click", () => busy(button, work, failed));
  return button;
}

/** An `actionButton` that changes something; null for a user who may only read, since the API would answer 403. */
export function writeButton(label, work, options) {
  return mayWrite() ? actionButton(label, work, options) : null;
}

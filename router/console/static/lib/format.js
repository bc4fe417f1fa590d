// How values look: times, states, sizes.
import { h } from "./dom.js";

const STEPS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const numbers = new Intl.NumberFormat("en");

/** A moment as people say it ("3 minutes ago"), with the exact time as its title. */
export function moment(iso, absent = "never") {
  if (iso === null || iso === undefined) return h("span", { class: "muted" }, absent);
  const then = new Date(iso);
  const seconds = (then.getTime() - Date.now()) / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  const words = Math.abs(seconds) < 10 ? "just now" : relative.format(Math.round(seconds / size), unit);
  return h("time", { datetime: iso, title: absolute.format(then) }, words);
}

/** A moment in full. */
export const exact = (iso) => absolute.format(new Date(iso));

/** A number with its thousands apart. */
export const number = (value) => numbers.format(value);

const TONES = {
  good: ["verified", "issued", "valid", "active", "running", "delivered", "enabled", "present", "live", "served", "succeeded", "healthy", "ready", "ok"],
  warn: ["pending", "verifying", "propagating", "issuing", "expiring", "starting", "unproven", "unknown", "waiting", "warning", "queued", "building", "degraded", "due"],
  bad: ["failed", "missing", "wrong", "error", "expired", "given_up", "revoked", "blocked", "suspended", "not_found", "unhealthy", "lost"],
};

/** Which colour a state has. */
export function tone(state) {
  return Object.keys(TONES).find((name) => TONES[name].includes(state)) ?? "plain";
}

/** A state as a coloured word; the colour says nothing that the word does not. */
export function badge(state, label = String(state).replaceAll("_", " "), colour = tone(state)) {
  return h("span", { class: `badge ${colour}` }, label);
}

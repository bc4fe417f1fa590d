// What custom domains and preview domains share: DNS records to add, the DNS provider's hints, and the diagnosis.
import { h, replace } from "./dom.js";
import { get } from "./api.js";
import { badge, moment } from "./format.js";
import { actionButton, announce, copyable, errorBox, tooSoon } from "./feedback.js";
import { dialog } from "./dialog.js";
import { table } from "./table.js";

const PURPOSES = { routing: "Leads visitors here", ownership: "Shows whose it is", certificate: "One certificate for all hosts" };
const REASONS = {
  redirect_loop: "It leads in a circle.",
  not_authoritative: "Its name servers say that they are not in charge.",
  servers_differ: "Its name servers answer differently.",
  wildcard: "A wildcard record answers in its place.",
  lame: "Its name servers are not in charge of it.",
  bogus: "Its DNSSEC signatures are wrong.",
  https_record_elsewhere: "Its HTTPS record sends visitors elsewhere.",
  our_addresses_missing: "The platform's own name has no addresses now.",
  nxdomain: "There is no such name.",
  nodata: "The name has no such record.",
  timeout: "Its name servers did not answer.",
};
const SEVERITIES = { error: ["bad", "Does not work"], warning: ["warn", "May stop working"], info: ["plain", "Good to know"] };
const ACTIONS = { add: "Add", change: "Change", delete: "Delete", replace: "Replace", remove: "Delete", keep: "Keep" };

/** The records as a table, each with what the last check found, and buttons that copy. `alternatives`: any one of them will do. */
export function recordsTable(records, { alternatives = false } = {}) {
  return table({
    caption: "DNS records",
    columns: [
      { title: "Type", kind: "short", cell: (record) => h("strong", null, record.type) },
      { title: "Name", kind: "wide", cell: (record) => [copyable(record.host, `name of the ${record.type} record`), record.host !== record.fqdn && h("div", { class: "muted small" }, record.fqdn)] },
      {
        title: "Value",
        kind: "wide",
        cell: (record) => [
          copyable(record.value, `value of the ${record.type} record`),
          record.alternative !== null && h("div", { class: "muted small" }, "or ", h("code", null, record.alternative), ", which also shows that the domain is yours"),
          record.warning !== null && h("p", { class: "small" }, record.warning),
        ],
      },
      { title: "For", cell: (record) => [PURPOSES[record.purpose] ?? record.purpose, !record.required && !alternatives && h("span", { class: "muted" }, record.purpose === "certificate" ? " (optional)" : " (not needed now)")] },
      {
        title: "State",
        cell: (record) => [
          badge(record.status),
          record.reason !== null && h("div", { class: "small" }, REASONS[record.reason] ?? record.reason.replaceAll("_", " ")),
          record.observed.length > 0 && record.status !== "valid" && h("div", { class: "muted small" }, "Found: ", record.observed.map((value) => [h("code", null, value), " "])),
        ],
      },
    ],
    rows: records,
  });
}

/** How the domain's DNS provider calls these fields, and the link that sets all records in one click. */
export function providerNote(provider, applyUrl) {
  if (provider === null && applyUrl === null) return null;
  const name = provider?.name ?? "your DNS provider";
  return h(
    "div",
    { class: "notice info" },
    applyUrl !== null && h("p", null, h("a", { class: "button primary", href: applyUrl, target: "_blank", rel: "noopener noreferrer" }, `Set the records at ${name}`), " opens a page of the provider, where you agree to the change."),
    provider !== null && h(
      "p",
      null,
      "The zone is at ", h("a", { href: provider.panel_url, target: "_blank", rel: "noopener noreferrer" }, provider.name),
      `: put the name into “${provider.host_field}” and the value into “${provider.value_field}”. `,
      provider.apex === "" ? "For the domain itself leave the name empty. " : `For the domain itself type ${provider.apex}. `,
      provider.apex_record !== null && `There it leads here by a record of type ${provider.apex_record}.`,
    ),
    provider !== null && provider.hint !== null && h("p", null, provider.hint),
  );
}

/** The diagnosis at `path`: what is wrong in sentences, with the record to change. A node, and `load()`, which asks anew. */
export function diagnosis(path, signal) {
  const place = h("div", { class: "stack", "aria-live": "polite" });
  async function load() {
    replace(place, h("p", { class: "muted", "aria-busy": "true" }, "Asking the domain's name servers…"));
    try {
      const { data } = await get(path, { signal });
      replace(place, data.healthy && h("p", null, badge("good", "Nothing is wrong", "good")), data.findings.map(finding), h("p", { class: "muted small" }, "Checked ", moment(data.checked_at)));
      announce(data.healthy ? "Diagnosis: nothing is wrong" : `Diagnosis: ${data.findings.length} findings`);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!tooSoon(error)) return replace(place, errorBox(error));
      const seconds = Number(error.retryAfter);
      replace(place, h("p", { class: "muted", "aria-busy": "true" }, `It was checked a moment ago. The diagnosis follows in ${seconds} seconds…`));
      clearTimeout(later);
      later = setTimeout(load, seconds * 1000);
    }
  }
  let later = 0;
  signal.addEventListener("abort", () => clearTimeout(later));
  load();
  const node = h("section", { class: "card", "aria-label": "Diagnosis" }, h("div", { class: "spread" }, h("h2", null, "Diagnosis"), actionButton("Diagnose again", load)), place);
  return { node, load };
}

function finding({ severity, message, records, docs_url: docs }) {
  const [colour, words] = SEVERITIES[severity];
  return h(
    "div",
    { class: "finding" },
    h("p", null, badge(severity, words, colour), " ", message),
    records.length > 0 && h("ul", { class: "remedies" }, records.map((record) => h("li", null, h("strong", null, `${ACTIONS[record.action] ?? record.action} ${record.type} `), h("span", null, copyable(record.host, `name of the ${record.type} record to ${record.action}`), " → ", copyable(record.value, `value of the ${record.type} record to ${record.action}`))))),
    docs && h("p", { class: "small" }, h("a", { href: docs, target: "_blank", rel: "noopener noreferrer", "aria-label": `More about this: ${message}` }, "More about this")),
  );
}

/** Another account has the name: what shows that it is yours. */
export function claimDialog({ name, records, expires_at: until }) {
  return dialog({
    title: `${name} is another account's`,
    wide: true,
    body: (close) => [
      h("p", null, "If the domain is yours, add one of these records, then add the domain again: it moves to you once the record is seen."),
      recordsTable(records, { alternatives: true }),
      h("p", { class: "muted small" }, "The claim ends ", moment(until), "."),
      h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => close() }, "Close")),
    ],
  });
}

// One custom domain: its records with their states, the diagnosis, its certificate, what happened to it.
import { h, replace } from "../lib/dom.js";
import { get, patch, post, remove } from "../lib/api.js";
import { badge, exact, moment } from "../lib/format.js";
import { announce, toast, writeButton } from "../lib/feedback.js";
import { confirm, dialog } from "../lib/dialog.js";
import { form } from "../lib/form.js";
import { navigate, to } from "../lib/router.js";
import { mayWrite } from "../lib/session.js";
import { diagnosis, providerNote, recordsTable } from "../lib/records.js";
import { ownCertificate } from "../lib/own_certificate.js";
import { eventList } from "../lib/events.js";

const LOOK_EVERY = 10_000; // milliseconds, until the domain is verified

/** What to do next, by the domain's status. */
const nextStep = (status) => ({
  pending: `Add the first record at your DNS provider. It is checked by itself${mayWrite() ? "; “Check now” is faster" : ""}.`,
  failed: "The record was not found for too long, and checks have stopped. Set it, then check again.",
})[status];
const FAILURES = { never_verified: "It was never verified.", dns_moved: "Its DNS no longer leads here." };
const PROOFS = "It leads here, but a record still has to show that the domain is yours: add the TXT record too.";

export async function render({ params, signal, title }) {
  const path = `/api/v1/custom-domains/${params.id}`;
  let domain = (await get(path, { signal })).data;
  title(domain.fqdn_unicode);
  const state = h("span", { class: "row" });
  const advice = h("div", { class: "stack" });
  const records = h("div", { class: "stack" });
  const certificate = h("div", null);
  const redirect = h("div", null);
  const events = eventList({ domain_id: domain.id }, signal, { title: "No events yet", text: "Checks and certificates of this domain show up here." });

  function show() {
    const next = nextStep(domain.status);
    replace(state, badge(domain.status), domain.blocked !== null && badge("blocked"));
    replace(
      advice,
      domain.blocked !== null && h("div", { class: "notice bad" }, h("p", null, `The platform has blocked this domain: ${domain.blocked.reason ?? "ask your operator why"}.`)),
      domain.failure_reason !== null && h("div", { class: "notice warn" }, h("p", null, FAILURES[domain.failure_reason] ?? domain.failure_reason)),
      domain.proof_needed !== null && h("div", { class: "notice warn" }, h("p", null, PROOFS)),
      domain.caa_forbidden && h("div", { class: "notice bad" }, h("p", null, "CAA records of the domain forbid the certificate. The diagnosis says which to change.")),
      next && h("p", { class: "lead" }, next),
    );
    replace(records, providerNote(domain.dns_provider, domain.apply_url), recordsTable(domain.records), h("p", { class: "muted small" }, "Checked ", moment(domain.checked_at), ", next ", moment(domain.next_check_at), "."));
    replace(certificate, certificateFacts(domain.cert));
    replace(redirect, redirection(domain, change));
  }

  async function check() {
    domain = (await post(`${path}/check`)).data;
    show();
    findings?.load();
    events.reload();
    const good = ["verified", "active"].includes(domain.status);
    toast(good ? `${domain.fqdn_unicode} is ${domain.status}` : `Checked: DNS is ${domain.dns_status.replaceAll("_", " ")}. The diagnosis says what to do.`, good ? "good" : "bad");
  }

  async function change() {
    const options = [["none", "None: this name shows the site"], ["www_to_apex", "From www to the domain itself"], ["apex_to_www", "From the domain itself to www"]];
    const found = await dialog({
      title: "Redirect",
      body: (close) =>
        form({
          fields: [
            { name: "redirect_policy", label: "Redirect", kind: "select", options, value: domain.redirect_policy },
            { name: "redirect_status", label: "With status", kind: "select", options: ["301", "302", "307", "308"].map((one) => [one, one]), value: String(domain.redirect_status) },
          ],
          action: "Save",
          cancel: () => close(),
          submit: async ({ redirect_policy: policy, redirect_status: status }) =>
            close((await patch(`/api/v1/deployments/${domain.deployment_id}/domains/${domain.id}`, { redirect_policy: policy, redirect_status: Number(status) })).data),
        }),
    });
    if (found !== null) {
      domain = found;
      show();
    }
  }

  async function drop() {
    const done = await confirm({
      title: `Remove ${domain.fqdn_unicode}?`,
      text: "It stops answering at once, for open connections too. Delete its DNS records afterwards.",
      action: "Remove domain",
      typed: domain.fqdn,
      work: () => remove(path),
    });
    if (!done) return;
    toast(`${domain.fqdn_unicode} removed`);
    navigate("/domains");
  }

  const removed = domain.status === "removed";
  const findings = removed ? null : diagnosis(`${path}/diagnose`, signal);
  show();
  follow(path, signal, () => domain, (found) => {
    const before = domain.status;
    domain = found;
    show();
    if (before !== domain.status) {
      announce(`${domain.fqdn_unicode} is ${domain.status}`);
      events.reload();
    }
  });
  await events.reload();
  return [
    h("p", { class: "crumb" }, h("a", { href: "#/domains" }, "Domains")),
    h("div", { class: "spread" }, h("div", { class: "row" }, h("h1", null, domain.fqdn_unicode), state), h("div", { class: "row" }, h("a", { class: "button", href: `https://${domain.fqdn}/`, target: "_blank", rel: "noopener noreferrer" }, "Visit"), !removed && writeButton("Check now", check, { kind: "primary" }))),
    domain.fqdn !== domain.fqdn_unicode && h("p", { class: "muted" }, "In DNS: ", h("code", null, domain.fqdn)),
    advice,
    h("section", { class: "card", "aria-label": "DNS records" }, h("h2", null, "DNS records"), records),
    findings?.node,
    h("section", { class: "card", "aria-label": "Certificate" }, h("h2", null, "Certificate"), certificate, !removed && ownCertificate(`${path}/certificate`, domain.fqdn, signal)),
    h(
      "section",
      { class: "card", "aria-label": "Where it leads" },
      h("h2", null, "Where it leads"),
      h("dl", { class: "facts" }, h("dt", null, domain.computer_id !== null ? "Computer" : "Deployment"), h("dd", null, h("a", { href: domain.computer_id !== null ? to("/resources/computers/:id", { id: domain.computer_id }) : to("/resources/deployments/:id", { id: domain.deployment_id }) }, domain.computer_id ?? domain.deployment_id)), h("dt", null, "Redirect"), h("dd", null, redirect)),
    ),
    h("h2", null, "Events"),
    events.node,
    !removed && mayWrite() && h("section", { class: "card", "aria-label": "Remove" }, h("div", { class: "spread" }, h("div", null, h("h2", null, "Remove this domain"), h("p", { class: "muted" }, "Another domain of yours can take its place at any time.")), writeButton("Remove domain…", drop, { kind: "danger" }))),
  ];
}

function certificateFacts(cert) {
  return h(
    "dl",
    { class: "facts" },
    h("dt", null, "State"), h("dd", null, badge(cert.status), cert.status === "pending" && h("span", { class: "muted small" }, " it comes at the first visit by https")),
    cert.issuer !== null && [h("dt", null, "Issuer"), h("dd", null, cert.issuer)],
    cert.not_after !== null && [h("dt", null, "Valid until"), h("dd", null, exact(cert.not_after), " (", moment(cert.not_after), ")")],
    cert.last_error !== null && [h("dt", null, "Last error"), h("dd", null, cert.last_error)],
    cert.retry_at !== null && [h("dt", null, "Tried again"), h("dd", null, moment(cert.retry_at))],
  );
}

function redirection(domain, change) {
  const words = { none: "none", www_to_apex: "from www to the domain itself", apex_to_www: "from the domain itself to www" };
  return [words[domain.redirect_policy] ?? domain.redirect_policy, domain.redirect_policy !== "none" && ` (${domain.redirect_status})`, " ", domain.deployment_id !== null && domain.status !== "removed" && writeButton("Change", change, { kind: "quiet copy", "aria-label": "Change the redirect" })];
}

/** Ask for the domain again while it is pending, and tell of what changed. A page in the background asks nothing. */
function follow(path, signal, now, changed) {
  const timer = setInterval(async () => {
    if (document.hidden || now().status !== "pending" || document.querySelector("dialog[open]") !== null) return;
    try {
      const { data } = await get(path, { signal });
      if (JSON.stringify(data) !== JSON.stringify(now())) changed(data);
    } catch (error) {
      if (error.name !== "AbortError") console.warn(error.message); // the next one may be answered
    }
  }, LOOK_EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

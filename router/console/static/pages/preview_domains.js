// Preview domains on the three scopes: what each has set, and which one holds.
import { h, replace } from "../lib/dom.js";
import { get, post, put, remove } from "../lib/api.js";
import { badge, exact, moment } from "../lib/format.js";
import { errorBox, toast, writeButton } from "../lib/feedback.js";
import { confirm, dialog } from "../lib/dialog.js";
import { form } from "../lib/form.js";
import { everything } from "../lib/places.js";
import { setQuery } from "../lib/router.js";
import { claimDialog, diagnosis, providerNote, recordsTable } from "../lib/records.js";
import { ownCertificate } from "../lib/own_certificate.js";

const ORDER = "The project's own domain holds; without one the workspace's; without one the organization's; without any the platform's.";

export async function render({ signal, query, who }) {
  const places = await everything(signal);
  const scopes = reachable(who, places);
  const chosen = scopes.some(([value]) => value === query.scope) ? query.scope : scopes[0][0];
  const place = h("div", { class: "stack" });
  let shown = new AbortController();

  async function open(scope) {
    shown.abort(); // what the scope before still asks for
    shown = new AbortController();
    replace(place, h("p", { class: "muted", "aria-busy": "true" }, "Loading…"));
    const within = AbortSignal.any([signal, shown.signal]);
    try {
      const found = await section(scope, within, places, () => open(scope));
      if (!within.aborted) replace(place, found);
    } catch (error) {
      if (error.name !== "AbortError") replace(place, errorBox(error, () => open(scope)));
    }
  }

  const choice = h("select", { id: "scope", onchange: () => { setQuery({ scope: choice.value }); open(choice.value); } }, scopes.map(([value, words]) => h("option", { value, selected: value === chosen }, words)));
  await open(chosen);
  return [
    h("h1", null, "Preview domains"),
    h("p", { class: "lead" }, "Under a preview domain each sandbox, computer and deployment has a host of its own. ", ORDER),
    h("div", { class: "filters" }, h("div", { class: "field" }, h("label", { for: "scope" }, "Scope"), choice)),
    place,
  ];
}

/** The scopes that the key may set: a narrower key has fewer. */
function reachable(who, { workspaces, projects, scope }) {
  const tenant = who.workspace === null && who.project === null ? ["tenant"] : [];
  const found = [...tenant, ...(who.project === null ? workspaces.map(({ id }) => `workspace:${id}`) : []), ...projects.map(({ id }) => `project:${id}`)];
  return found.map((value) => [value, scope(value)]);
}

function pathOf(scope) {
  const [kind, id] = scope.split(":");
  return kind === "tenant" ? "/api/v1/tenant/preview-domain" : `/api/v1/${kind}s/${id}/preview-domain`;
}

async function section(scope, signal, places, again) {
  const path = pathOf(scope);
  const setting = await get(path, { signal });
  const reason = await why(setting, scope, signal, places);
  const holds = h(
    "section",
    { class: "card", "aria-label": "What holds" },
    h("h2", null, "What holds here"),
    h("p", null, h("strong", null, setting.effective_domain), " ", badge("effective", reason, "plain")),
    h(
      "dl",
      { class: "facts" },
      h("dt", null, "Default port"), h("dd", null, h("code", null, setting.url_examples.default_preview)),
      h("dt", null, "One port"), h("dd", null, h("code", null, setting.url_examples.port_preview)),
      h("dt", null, "Deployment"), h("dd", null, h("code", null, setting.url_examples.deployment)),
    ),
  );
  if (setting.preview_domain === null) {
    return [
      holds,
      h(
        "div",
        { class: "empty" },
        h("h2", null, "No preview domain of its own"),
        h("p", null, "Set one, such as preview.example.com, and add two wildcard records at your DNS provider. Hosts under the platform's domain go on answering."),
        writeButton("Set a preview domain", () => set(path, null, again), { kind: "primary" }),
      ),
    ];
  }
  return [holds, own(setting, path, again), records(setting, path, signal, again), diagnosis(`${path}/diagnose`, signal).node, certificate(setting, path, signal)];
}

/** Which scope's domain is in force, in words. */
async function why(setting, scope, signal, places) {
  if (setting.preview_domain !== null) return "set here";
  const [kind, id] = scope.split(":");
  if (kind === "project") {
    const workspace = places.projects.find((project) => project.id === id)?.workspace_id;
    const above = workspace && (await get(pathOf(`workspace:${workspace}`), { signal }).catch((error) => {
      if (error.status === 403) return null; // a project's key does not reach it
      throw error;
    }));
    if (above === null || above === undefined) return "inherited from the workspace, the organization or the platform";
    if (above.preview_domain !== null) return `inherited from workspace ${places.names.get(workspace)}`;
  }
  if (kind === "tenant") return "the platform's: none is set";
  const tenant = await get(pathOf("tenant"), { signal }).catch((error) => {
    if (error.status === 403) return null;
    throw error;
  });
  if (tenant === null) return "inherited from the organization or the platform";
  return tenant.preview_domain !== null ? "inherited from the organization" : "the platform's: no scope has one";
}

function own(setting, path, again) {
  const failures = { never_verified: "It was never verified.", dns_moved: "Its DNS no longer leads here." };
  return h(
    "section",
    { class: "card", "aria-label": "Its own domain" },
    h(
      "div",
      { class: "spread" },
      h("div", { class: "row" }, h("h2", null, setting.preview_domain), badge(setting.status)),
      h("div", { class: "row" }, writeButton("Change", () => set(path, setting.preview_domain, again)), writeButton("Clear…", () => clear(path, setting, again), { kind: "danger" })),
    ),
    setting.failure_reason !== null && h("div", { class: "notice warn" }, h("p", null, failures[setting.failure_reason] ?? setting.failure_reason)),
    setting.caa_forbidden && h("div", { class: "notice bad" }, h("p", null, "CAA records of the domain forbid certificates. The diagnosis says which to change.")),
    !setting.verified && h("p", { class: "muted" }, "Hosts under it answer once its records are verified."),
  );
}

function records(setting, path, signal, again) {
  const check = async () => {
    const found = await post(`${path}/verify`);
    toast(found.verified ? `${found.preview_domain} is verified` : `Checked: DNS is ${found.dns_status.replaceAll("_", " ")}. The diagnosis says what to do.`, found.verified ? "good" : "bad");
    await again();
  };
  return h(
    "section",
    { class: "card", "aria-label": "DNS records" },
    h("div", { class: "spread" }, h("h2", null, "DNS records"), writeButton("Verify now", check, { kind: "primary" })),
    providerNote(setting.dns_provider, setting.apply_url),
    recordsTable(setting.records),
    h("p", { class: "muted small" }, "Checked ", moment(setting.checked_at), setting.next_check_at !== null && [", next ", moment(setting.next_check_at)], "."),
  );
}

function certificate(setting, path, signal) {
  const found = setting.certificate;
  const modes = { wildcard: "one certificate for all hosts", per_host: "a certificate for each host, at its first visit" };
  return h(
    "section",
    { class: "card", "aria-label": "Certificate" },
    h("h2", null, "Certificate"),
    found !== null && h(
      "dl",
      { class: "facts" },
      h("dt", null, "Served"), h("dd", null, modes[found.mode] ?? found.mode),
      h("dt", null, "For the whole domain"), h("dd", null, badge(found.status, found.status === "off" ? "not ordered by this platform" : undefined)),
      found.not_after !== null && [h("dt", null, "Valid until"), h("dd", null, exact(found.not_after), " (", moment(found.not_after), ")")],
      found.renew_at !== null && [h("dt", null, "Renewed"), h("dd", null, moment(found.renew_at))],
      found.last_error !== null && [h("dt", null, "Last error"), h("dd", null, found.last_error)],
      found.next_attempt_at !== null && [h("dt", null, "Tried again"), h("dd", null, moment(found.next_attempt_at))],
    ),
    found !== null && found.advice !== null && h("div", { class: "notice info" }, h("p", null, found.advice), h("p", null, "The records “for one certificate for all hosts” above delegate the two challenge names.")),
    ownCertificate(`${path}/certificate`, setting.preview_domain, signal),
  );
}

async function set(path, value, again) {
  const found = await dialog({
    title: value === null ? "Set a preview domain" : "Change the preview domain",
    body: (close) =>
      form({
        fields: [{ name: "preview_domain", label: "Preview domain", required: true, value: value ?? "", placeholder: "preview.example.com", hint: "New URLs are under it at once; they answer when its records are verified." }],
        action: "Set domain",
        cancel: () => close(),
        submit: async ({ preview_domain: domain }) => {
          try {
            await put(path, { preview_domain: domain });
            close({ done: true });
          } catch (error) {
            if (error.claim === undefined) throw error;
            close({ claim: error.claim });
          }
        },
      }),
  });
  if (found?.claim) await claimDialog(found.claim);
  else if (found !== null) await again();
}

async function clear(path, setting, again) {
  const done = await confirm({
    title: `Clear ${setting.preview_domain}?`,
    text: "Hosts under it stop answering at once, and new URLs are under the domain that is inherited. Delete its DNS records afterwards.",
    action: "Clear preview domain",
    typed: setting.preview_domain,
    work: () => remove(path),
  });
  if (!done) return;
  toast(`${setting.preview_domain} cleared`);
  await again();
}

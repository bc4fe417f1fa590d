// Why a host leads where it leads.
import { h, replace } from "../lib/dom.js";
import { get } from "../lib/api.js";
import { badge, moment } from "../lib/format.js";
import { form } from "../lib/form.js";
import { setQuery } from "../lib/router.js";

export async function render({ query, signal }) {
  const place = h("div", { class: "stack", "aria-live": "polite" });

  async function explain(host) {
    replace(place);
    const { data } = await get("/api/v1/explain", { query: { host }, signal });
    setQuery({ host });
    replace(place, shown(data));
  }

  const asking = form({
    fields: [{ name: "host", label: "Host", required: true, value: query.host ?? "", placeholder: "www.example.com", hint: "A domain of yours, or a host of a preview: what stands between https:// and the next slash." }],
    action: "Explain",
    submit: ({ host }) => explain(bare(host)),
  });
  if (query.host) setTimeout(() => asking.requestSubmit()); // once it is in the page
  return [
    h("h1", null, "Explain a host"),
    h("p", { class: "lead" }, "Which domain, resource and port a host leads to now, in the order in which the router decides it, and what visitors get."),
    h("section", { class: "card", "aria-label": "Host to explain" }, asking),
    place,
  ];
}

/** The host in a URL that was pasted whole. */
function bare(text) {
  return text.replace(/^[a-z]+:\/\//i, "").replace(/[/?#].*$/, "").replace(/:\d+$/, "");
}

function shown(found) {
  const { resource } = found;
  return [
    h("section", { class: "card", "aria-label": "What visitors get" }, h("div", { class: "row" }, h("h2", null, found.host), badge(found.reason, found.reason.replaceAll("_", " "), found.status === null ? "good" : "bad")), h("p", null, found.message), found.status !== null && h("p", { class: "muted" }, `Visitors get ${found.status}`, found.error !== null && [" (", h("code", null, found.error), ")"], ".")),
    resource !== null && h(
      "section",
      { class: "card", "aria-label": "Resource" },
      h("h2", null, "Where it leads"),
      h(
        "dl",
        { class: "facts" },
        h("dt", null, found.redirect_to !== null ? "Redirects to" : "Decided by"), h("dd", null, found.redirect_to ?? LEVELS[found.level] ?? found.level),
        h("dt", null, "Resource"), h("dd", null, `${resource.kind} ${resource.slug} `, badge(resource.state)),
        found.port !== null && [h("dt", null, "Port"), h("dd", null, String(found.port))],
        found.scheme !== null && [h("dt", null, "Program speaks"), h("dd", null, `${found.scheme}, ${found.protocol}`)],
        found.visibility !== null && [h("dt", null, "Who may open it"), h("dd", null, found.visibility)],
        found.host_mode !== null && [h("dt", null, "Host that the program gets"), h("dd", null, found.host_mode)],
      ),
    ),
    found.hints.length > 0 && h("section", { class: "card", "aria-label": "Hints" }, h("h2", null, "Hints"), h("ul", null, found.hints.map((hint) => h("li", null, hint)))),
    found.errors.length > 0 && h("section", { class: "card", "aria-label": "Recent errors" }, h("h2", null, "What visitors got lately instead of a response"), h("ul", { class: "stack" }, found.errors.map((error) => h("li", null, h("code", null, error.code), ` ${error.message} (${error.count} times, last `, moment(error.last_at), ")")))),
    h("section", { class: "card", "aria-label": "Steps" }, h("h2", null, "How it was decided"), h("ol", { class: "steps" }, found.steps.map((step) => h("li", null, h("code", null, step.key), " ", step.outcome)))),
  ];
}

const LEVELS = {
  exact: "the custom domain itself",
  project: "the project's preview domain",
  workspace: "the workspace's preview domain",
  tenant: "the organization's preview domain",
  platform: "the platform's domain",
};

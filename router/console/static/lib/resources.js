// What the pages of resources share: the three kinds, who gets in, and what a resource inherits.
import { h, replace } from "./dom.js";
import { ApiError, get } from "./api.js";
import { badge, moment } from "./format.js";
import { copyable } from "./feedback.js";

/** The kinds, by the word that stands in the API's paths and in the console's addresses. */
export const KINDS = {
  sandboxes: { one: "sandbox", title: "Sandboxes" },
  computers: { one: "computer", title: "Computers" },
  deployments: { one: "deployment", title: "Deployments" },
};

/** What to call one. */
export const nameOf = (resource) => resource.name ?? resource.slug;

/** Who gets in, by the API's word. */
export const VISIBILITIES = {
  public: "everybody",
  private: "people with a share link or the password, and programs with a token or a key that reaches it",
  tenant: "as private, and whoever has a key of the organization",
  key: "programs with a token or a key; no share links, no passwords",
};

/** Choices of a select. `inherits` is what the first one says, which stands for null. */
export function visibilityChoices(inherits) {
  return [["", inherits], ...Object.entries(VISIBILITIES).map(([value, words]) => [value, `${value}: ${words}`])];
}

const WAKES = { off: "no request wakes it", any: "any request that may open the port wakes it", authorised: "a request that shows a key, token, link or password wakes it" };

/** Choices of a select of what wakes it. */
export const wakeChoices = (inherits) => [["", inherits], ...Object.entries(WAKES)];

/** The organization's settings; null for a key that may not read them. */
export async function organization(signal) {
  try {
    return (await get("/api/v1/tenant", { signal })).data;
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return null;
    throw error;
  }
}

/** "private, from the organization", or the resource's own value. `field` is the resource's, `default_` before it the organization's. */
export function inherited(resource, field, tenant, words = (value) => String(value)) {
  if (resource[field] !== null) return [words(resource[field]), h("span", { class: "muted small" }, " set here")];
  if (tenant === null) return h("span", { class: "muted" }, "as the organization says");
  return [words(tenant[`default_${field}`]), h("span", { class: "muted small" }, " inherited from the organization")];
}

/** Who gets in, in the words of a table's cell. */
export function visibility(value, tenant) {
  if (value !== null) return badge(value, value, "plain");
  return [tenant !== null && [badge(tenant.default_visibility, tenant.default_visibility, "plain"), " "], h("span", { class: "muted small" }, "inherited")];
}

const CLASSES = { custom: " inherited from what its project, workspace or organization has set", platform: " the platform's" };

/** The facts that all kinds have: state, hosts, where it lies. */
export function commonFacts(resource) {
  const { url, fallback_url: fallback, stable_for_embedding: answers } = resource;
  const host = resource.preview_url ?? resource.public_url ?? url;
  return [
    h("dt", null, "State"), h("dd", null, stateOf(resource)),
    h("dt", null, "URL"), h("dd", null, copyable(host, "the URL"), !answers && h("p", { class: "muted small" }, "Answers once its preview domain is verified and has a certificate.")),
    fallback !== host && [h("dt", null, "Also at"), h("dd", null, copyable(fallback, "the URL under the platform's domain"))],
    h("dt", null, "Preview domain"), h("dd", null, h("a", { href: "#/preview-domains" }, resource.preview_domain), h("span", { class: "muted small" }, CLASSES[resource.url_class])),
    h("dt", null, "Project"), h("dd", null, resource.project_name ?? resource.project_slug ?? resource.project_id, h("span", { class: "muted small" }, " in workspace ", resource.workspace_name ?? resource.workspace_slug ?? resource.workspace_id)),
    h("dt", null, "Id"), h("dd", null, copyable(resource.id, "the id")),
    h("dt", null, "Created"), h("dd", null, moment(resource.created_at)),
  ];
}

/** Its state, and whether it is blocked. */
export function stateOf(resource) {
  return [badge(resource.state), resource.blocked !== null && [" ", badge("blocked")]];
}

function blockedNotice({ blocked }) {
  return blocked !== null && h("div", { class: "notice bad" }, h("p", null, `The platform has blocked this: ${blocked.reason ?? "ask your operator why"}.`));
}

/** The head of a resource's page: where it hangs, its name, where to see it and its requests. {node, show(resource)}. */
export function heading(kind, actions) {
  const { one, title } = KINDS[kind];
  const name = h("h1", null);
  const visit = h("a", { class: "button", target: "_blank", rel: "noopener noreferrer" }, "Visit");
  const requests = h("a", { class: "button" }, "Requests");
  const notice = h("div", null);
  const node = [
    h("p", { class: "crumb" }, h("a", { href: "#/resources" }, "Resources"), " / ", h("a", { href: `#/resources?kind=${kind}` }, title)),
    h("div", { class: "spread" }, h("div", { class: "row" }, name, badge(one, one, "plain")), h("div", { class: "row" }, visit, requests, actions)),
    notice,
  ];
  return {
    node,
    show(resource) {
      replace(name, nameOf(resource));
      visit.href = urlOf(resource);
      requests.href = `#/requests?resource_id=${encodeURIComponent(resource.id)}`;
      replace(notice, blockedNotice(resource));
    },
  };
}

/** The URL that answers now; always http or https, as the API made it. */
export function urlOf(resource) {
  const url = resource.stable_for_embedding ? resource.preview_url ?? resource.public_url ?? resource.url : resource.fallback_url;
  return /^https?:\/\//.test(url) ? url : "#/resources";
}

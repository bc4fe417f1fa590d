// The first page: how traffic goes, where to begin, and what is newest.
import { h } from "../lib/dom.js";
import { eventList } from "../lib/events.js";
import { traffic } from "../lib/traffic.js";

export async function render({ query, signal, who }) {
  const events = eventList({}, signal, { title: "Nothing has happened yet", text: "Add a domain, and its checks and certificate show up here. Webhooks send the same events to a program of yours." });
  const [charts] = await Promise.all([traffic({ query, signal, who }), events.reload()]);
  return [
    h("h1", null, who.organization.name),
    charts,
    h(
      "div",
      { class: "cards" },
      card("#/resources", "Resources", "See your sandboxes, computers and deployments: ports, share links, versions."),
      card("#/domains", "Domains", "Serve a computer or deployment at a domain of your own."),
      card("#/preview-domains", "Preview domains", "Have your previews under your own domain."),
      card("#/explain", "Explain a host", "See where a host leads, and why."),
    ),
    h("h2", null, "Latest events"),
    events.node,
  ];
}

const card = (href, title, text) => h("div", { class: "card" }, h("h2", null, h("a", { href }, title)), h("p", { class: "muted" }, text));

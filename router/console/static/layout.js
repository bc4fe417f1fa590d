// The frame around every page: navigation, who is logged in, and the page that the address names.
import { h, replace } from "./lib/dom.js";
import { current, match } from "./lib/router.js";
import { end } from "./lib/session.js";
import { errorBox } from "./lib/feedback.js";
import { PAGES } from "./pages/index.js";

const NAME = "MIOSA console";

/** The frame: {node, start(), leave()}. */
export function layout(who) {
  const pages = PAGES.filter((page) => page.visible === undefined || page.visible(who));
  const main = h("main", { id: "main", tabindex: "-1" });
  const links = new Map();
  const nav = h("nav", { id: "navigation", "aria-label": "Pages" }, groups(pages, links));
  const toggle = h("button", { type: "button", class: "menu", "aria-expanded": "false", "aria-controls": "navigation" }, "Menu");
  const open = (yes) => {
    nav.classList.toggle("open", yes);
    toggle.setAttribute("aria-expanded", String(yes));
  };
  toggle.addEventListener("click", () => open(!nav.classList.contains("open")));
  const header = h(
    "header",
    { class: "top" },
    toggle,
    h("a", { class: "brand", href: "#/" }, NAME),
    h("span", { class: "who" }, h("span", { class: "tenant" }, who.organization.name), h("span", { class: "muted small" }, scopeOf(who))),
    h("button", { type: "button", onclick: () => end("You logged out.") }, "Log out"),
  );
  const skip = h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, "Skip to the page");
  let running = null;
  let first = true;

  async function show() {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const { path, query } = current();
    const found = match(pages, path);
    open(false);
    for (const [page, link] of links) link.toggleAttribute("aria-current", false) || (isUnder(path, page) && link.setAttribute("aria-current", "page"));
    const title = (text) => { document.title = `${text} – ${NAME}`; };
    title(found?.page.title ?? "Not found");
    main.setAttribute("aria-busy", "true");
    replace(main, h("p", { class: "muted" }, "Loading…"));
    let content;
    try {
      if (found === null) content = nothing();
      else {
        const module = await found.page.load();
        content = await module.render({ params: found.params, query, signal, title, who, reload: show });
      }
    } catch (error) {
      if (signal.aborted) return;
      content = [h("h1", null, found.page.title), errorBox(error, show)];
    }
    if (signal.aborted) return;
    replace(main, content);
    main.removeAttribute("aria-busy");
    scrollTo(0, 0);
    if (!first) focusHeading(main); // at the first page the focus stays where the browser has it
    first = false;
  }

  return {
    node: [skip, header, h("div", { class: "columns" }, nav, main)],
    start() {
      addEventListener("hashchange", show);
      show();
    },
    leave() {
      removeEventListener("hashchange", show);
      running?.abort();
    },
  };
}

function groups(pages, links) {
  const shown = pages.filter((page) => page.group !== undefined);
  return [...new Set(shown.map((page) => page.group))].map((group) =>
    h(
      "div",
      { class: "group" },
      h("p", { class: "group-title" }, group),
      h("ul", null, shown.filter((page) => page.group === group).map((page) => {
        const link = h("a", { href: `#${page.path}` }, page.title);
        links.set(page, link);
        return h("li", null, link);
      })),
    ),
  );
}

const isUnder = (path, page) => path === page.path || (page.path !== "/" && path.startsWith(`${page.path}/`));

function scopeOf(who) {
  if (who.person !== null) return `${who.person}${who.read_only ? ", may only read" : ""}`;
  if (who.project !== null) return `project ${who.project.name}`;
  if (who.workspace !== null) return `workspace ${who.workspace.name}`;
  return who.scope === "platform" ? "platform key" : "whole organization";
}

function focusHeading(main) {
  const heading = main.querySelector("h1");
  if (heading === null) return;
  heading.setAttribute("tabindex", "-1");
  heading.focus({ preventScroll: true });
}

function nothing() {
  return [h("h1", null, "Page not found"), h("p", null, "The console has no page at this address. ", h("a", { href: "#/" }, "Go to the start"), ".")];
}

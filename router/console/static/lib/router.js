// The address behind `#` names the page: `#/domains/ID?tab=events`. It never leaves the browser, so no server logs it.

/** What the address names now: {path, query}. */
export function current() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return { path: path === "" ? "/" : path, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a page: `to("/domains/:id", {id}, {tab: "events"})`. */
export function to(pattern, params = {}, query = {}) {
  const path = pattern.replace(/:([a-z_]+)/gi, (_, name) => encodeURIComponent(params[name]));
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

/** Go there. */
export function navigate(pattern, params, query) {
  location.hash = to(pattern, params, query);
}

/** Put a filter into the address without a new page: the same page keeps running. */
export function setQuery(query) {
  history.replaceState(null, "", to(current().path.replaceAll(":", "%3A"), {}, query));
}

/** The page of a path and what its places hold: {page, params}; null where none has it. */
export function match(pages, path) {
  const given = path.split("/");
  for (const page of pages) {
    const parts = page.path.split("/");
    if (parts.length !== given.length) continue;
    const params = {};
    const fits = parts.every((part, index) => {
      if (!part.startsWith(":")) return part === given[index];
      try {
        params[part.slice(1)] = decodeURIComponent(given[index]);
      } catch {
        return false;
      }
      return given[index] !== "";
    });
    if (fits) return { page, params };
  }
  return null;
}

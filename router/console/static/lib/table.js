// Tables, which become cards where there is no room, and lists that come in pages.
import { h, replace } from "./dom.js";
import { errorBox, announce } from "./feedback.js";

/** What a list says that has nothing: what would be here, and what to do. */
export function emptyState({ title, text, action = null }) {
  return h("div", { class: "empty" }, h("h2", null, title), h("p", null, text), action);
}

/** A table. `columns`: [{title, cell(row), kind}], or false for one that is left out; `kind` is "number", "short" (stays on one line), "wide" or "actions". Roles are said, as cards are no table to a browser. */
export function table({ caption, columns: given, rows }) {
  const columns = given.filter((column) => column !== false);
  return h(
    "div",
    { class: "table-frame" },
    h(
      "table",
      { role: "table" },
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(({ title, kind }) => h("th", { role: "columnheader", scope: "col", class: kind }, kind === "actions" ? h("span", { class: "visually-hidden" }, title) : title)))),
      h(
        "tbody",
        { role: "rowgroup" },
        rows.map((row) =>
          h("tr", { role: "row" }, columns.map(({ title, cell, kind }) => h("td", { role: "cell", class: kind }, h("span", { class: "cell-title", "aria-hidden": "true" }, kind === "actions" ? "" : title), h("div", { class: "cell" }, cell(row))))),
        ),
      ),
    ),
  );
}

/**
 * A list that comes in pages: a node, and `reload()`.
 *
 * `load({page, cursor})` asks for one and answers with the API's `{data, page: {total, page, page_size, next_cursor}}` (or `{data, total}`).
 * `show(rows)` draws one, `empty()` the empty state. With `cursors` the next page is found by `next_cursor`, else by its number.
 */
export function pagedList({ load, show, empty, cursors = false, noun = "items" }) {
  const node = h("div", { class: "stack" });
  let page = 1;
  let trail = [null]; // the cursor of each page up to this one
  async function reload({ quiet = true } = {}) {
    if (node.childElementCount === 0) replace(node, h("p", { class: "muted", "aria-busy": "true" }, "Loading…"));
    try {
      const answer = await load(cursors ? { cursor: trail.at(-1) } : { page });
      if (answer.data.length === 0 && page > 1) {
        page -= 1; // the last of the last page was removed
        trail = trail.slice(0, -1);
        return await reload({ quiet });
      }
      renew(node, answer.data.length === 0 ? empty() : [show(answer.data), pager(answer)]);
      if (!quiet) announce(`Page ${page} of the ${noun}`);
    } catch (error) {
      if (error.name !== "AbortError") replace(node, errorBox(error, () => reload()));
    }
  }
  function go(to, cursor) {
    page = to;
    trail = cursor === undefined ? trail.slice(0, to) : [...trail, cursor];
    reload({ quiet: false });
  }
  function pager(answer) {
    const paging = answer.page ?? { total: answer.total ?? answer.data.length, page_size: answer.data.length };
    const next = cursors ? paging.next_cursor ?? null : null;
    const more = cursors ? next !== null : page * paging.page_size < paging.total;
    if (page === 1 && !more) return null;
    return h(
      "nav",
      { class: "pager", "aria-label": `Pages of the ${noun}` },
      h("button", { type: "button", disabled: page === 1, onclick: () => go(page - 1) }, "Previous"),
      h("span", { class: "muted" }, cursors ? `Page ${page}` : `Page ${page} of ${Math.ceil(paging.total / paging.page_size)}`),
      h("button", { type: "button", disabled: !more, onclick: () => go(page + 1, next ?? undefined) }, "Next"),
    );
  }
  return { node, reload };
}

const labelOf = (control) => control.getAttribute("aria-label") ?? control.textContent;

/** As `replace`, for who works by the keyboard: they go on at the control that they used, or at `node` where that has gone. */
export function renew(node, ...children) {
  const label = node.contains(document.activeElement) ? labelOf(document.activeElement) : null;
  replace(node, ...children);
  if (label === null) return;
  const same = [...node.querySelectorAll("a, button, summary, input, select")].find((control) => labelOf(control) === label);
  if (same === undefined) node.tabIndex = -1;
  (same ?? node).focus();
}

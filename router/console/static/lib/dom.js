// Elements without HTML: what comes from the API only ever becomes a text node or an attribute's value.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "line", "polyline", "polygon", "circle", "rect", "g", "text", "title", "desc"]);
// Where a link may lead. Anything else, `javascript:` first of all, leads nowhere.
const SAFE = /^(https?:\/\/|\/(?!\/)|#|mailto:)/i;

/** An element. Attributes: `class`, `onclick` and the like (functions), `hidden: true` (present), false or null (absent). */
export function h(tag, attributes, ...children) {
  const node = SVG_TAGS.has(tag) && tag !== "title" ? document.createElementNS(SVG, tag) : document.createElement(tag);
  return fill(node, attributes, children);
}

/** An element of an SVG picture that has the name of an HTML one too. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else if (name === "href" && !SAFE.test(value)) node.removeAttribute("href");
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Put these in the place of all that the node has. */
export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

let numbers = 0;
/** An id that no other element of the page has. */
export function freshId(prefix) {
  numbers += 1;
  return `${prefix}-${numbers}`;
}

// Charts as SVG, with the same figures as a table for who can't see them.
import { h, svg, freshId } from "./dom.js";
import { table } from "./table.js";

const WIDTH = 600;
const HEIGHT = 160;

/**
 * Lines over time. `points`: [{at, value}] with `at` ISO times, null values are gaps; `format(value)` is how a value is written.
 * `colour` is "accent", "bad" or "warn".
 */
export function chart({ title, points, format = String, time = (at) => at.slice(11, 16), colour = "accent" }) {
  const id = freshId("chart");
  const values = points.map((point) => point.value).filter((value) => value !== null);
  const highest = Math.max(...values, 0);
  const summary = values.length === 0 ? "no figures yet" : `latest ${format(values.at(-1))}, highest ${format(highest)}`;
  const x = (index) => (points.length < 2 ? WIDTH / 2 : (index / (points.length - 1)) * WIDTH);
  const y = (value) => HEIGHT - 4 - (highest === 0 ? 0 : (value / highest) * (HEIGHT - 12));
  return h(
    "figure",
    { class: `chart ${colour}` },
    h("figcaption", null, h("span", null, title), h("strong", null, values.length === 0 ? "–" : format(values.at(-1)))),
    h(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": id, preserveAspectRatio: "none" },
      svg("title", { id }, `${title}: ${summary}`),
      [0.25, 0.5, 0.75].map((part) => h("line", { class: "grid", x1: 0, x2: WIDTH, y1: part * HEIGHT, y2: part * HEIGHT })),
      runs(points).map((run) => [
        h("polygon", { class: "area", points: [`${x(run[0])},${HEIGHT}`, ...run.map((i) => `${x(i)},${y(points[i].value)}`), `${x(run.at(-1))},${HEIGHT}`].join(" ") }),
        h("polyline", { class: "line", points: run.map((i) => `${x(i)},${y(points[i].value)}`).join(" ") }),
      ]),
    ),
    h("div", { class: "axis muted small", "aria-hidden": "true" }, points.length > 0 && [h("span", null, time(points[0].at)), h("span", null, `highest ${format(highest)}`), h("span", null, time(points.at(-1).at))]),
    h(
      "details",
      null,
      h("summary", null, `${title} as a table`),
      table({ caption: title, columns: [{ title: "Time", cell: (row) => time(row.at) }, { title, cell: (row) => (row.value === null ? "–" : format(row.value)), kind: "number" }], rows: points }),
    ),
  );
}

/** The indexes of the points, cut at the gaps. */
function runs(points) {
  const found = [[]];
  points.forEach((point, index) => {
    if (point.value !== null) found.at(-1).push(index);
    else if (found.at(-1).length > 0) found.push([]);
  });
  return found.filter((run) => run.length > 0);
}

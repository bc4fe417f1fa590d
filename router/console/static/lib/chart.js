// Charts as SVG, with the same figures as a table for who can't see them.
import { h, svg, freshId } from "./dom.js";
import { table } from "./table.js";

const WIDTH = 600;
const HEIGHT = 160;

/**
 * Lines over time. `points`: [{at, value}] with `at` ISO times, null values are gaps; `format(value)` is how a value is written.
 * `headline` is what stands beside the title, by default the latest value; `unit` what the values are of ("per minute"); `colour` is "accent",
 * "bad" or "warn".
 */
export function chart({ title, points, headline = null, unit = "", format = String, time = (at) => at.slice(11, 16), colour = "accent" }) {
  const id = freshId("chart");
  const values = points.map((point) => point.value).filter((value) => value !== null);
  const highest = Math.max(...values, 0);
  const most = `highest ${format(highest)}${unit && ` ${unit}`}`;
  const summary = values.length === 0 ? "no figures yet" : `${headline === null ? "" : `${headline} in all, `}latest ${format(values.at(-1))}, ${most}`;
  const x = (index) => (points.length < 2 ? WIDTH / 2 : (index / (points.length - 1)) * WIDTH);
  const y = (value) => HEIGHT - 4 - (highest === 0 ? 0 : (value / highest) * (HEIGHT - 12));
  return h(
    "figure",
    { class: `chart ${colour}` },
    h("figcaption", null, h("span", null, title), h("strong", null, headline ?? (values.length === 0 ? "–" : format(values.at(-1))))),
    h(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": id, preserveAspectRatio: "none" },
      svg("title", { id }, `${title}: ${summary}`),
      [0.25, 0.5, 0.75].map((part) => h("line", { class: "grid", x1: 0, x2: WIDTH, y1: part * HEIGHT, y2: part * HEIGHT })),
      runs(points).map((run) => [
        h("polygon", { class: "area", points: [`${x(run[0])},${HEIGHT}`, ...run.map((i) => `${x(i)},${y(points[i].value)}`), `${x(run.at(-1))},${HEIGHT}`].join(" ") }),
        h("polyline", { class: "line", points: (run.length === 1 ? [run[0], run[0]] : run).map((i) => `${x(i)},${y(points[i].value)}`).join(" ") }), // one point alone is a dot
      ]),
    ),
    h("div", { class: "axis muted small", "aria-hidden": "true" }, points.length > 0 && [h("span", null, time(points[0].at)), h("span", null, most), h("span", null, time(points.at(-1).at))]),
    h(
      "details",
      null,
      h("summary", null, `${title} as a table`),
      table({ caption: title, columns: [{ title: "Time", cell: (row) => time(row.at) }, { title: unit ? `${title} ${unit}` : title, cell: (row) => (row.value === null ? "–" : format(row.value)), kind: "number" }], rows: points }),
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

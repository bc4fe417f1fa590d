// One request: where its time went, how it ended, what was captured of it, and sending it once more.
import { h, replace, svg } from "./dom.js";
import { ApiError, get, post } from "./api.js";
import { badge, exact, number } from "./format.js";
import { actionButton, busy, errorBox, sentence } from "./feedback.js";
import { dialog } from "./dialog.js";
import { form } from "./form.js";
import { mayWrite } from "./session.js";

const WIDTH = 600;
const ROW = 22;

/** Milliseconds as people read them. */
export const duration = (ms) => (ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : ms >= 100 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`);

/** The colour of a status. */
export const toneOf = ({ status, fault }) => (status >= 500 || fault === "edge" || fault === "application" ? "bad" : status >= 400 || fault === "client" ? "warn" : "good");

/** Open a dialog about a record. `replayed()` is called when it was sent once more. */
export function requestDetails(record, replayed) {
  return dialog({
    title: `${record.method} ${record.path}`,
    wide: true,
    body: () => [facts(record), timeline(record), record.captured && captured(record), mayWrite() && replayPart(record, replayed)],
  });
}

function facts(record) {
  return h(
    "dl",
    { class: "facts" },
    h("dt", null, "Ended"), h("dd", null, exact(record.ended_at)),
    h("dt", null, "Host"), h("dd", null, record.host),
    h("dt", null, "Status"), h("dd", null, badge(String(record.status), record.status === 0 ? "no answer" : String(record.status), toneOf(record)), record.error !== null && [" ", h("code", null, record.error)]),
    h("dt", null, "How it ended"), h("dd", null, sentence(record.ending_text ?? "well"), record.fault !== null && ` At fault: ${FAULTS[record.fault]}.`),
    h("dt", null, "Bytes"), h("dd", null, `${number(record.bytes_in)} in, ${number(record.bytes_out)} out`),
    record.client_network !== null && [h("dt", null, "Visitor's network"), h("dd", null, record.client_network)],
    record.version_id !== null && [h("dt", null, "Version"), h("dd", null, h("code", null, record.version_id))],
    record.represents > 1 && [h("dt", null, "Sampled"), h("dd", null, `stands for ${number(record.represents)} requests of a flood`)],
    record.replay && [h("dt", null, "Replay"), h("dd", null, "of a request that was captured before")],
    h("dt", null, "Request id"), h("dd", null, h("code", null, record.request_id)),
  );
}

const FAULTS = { edge: "the edge", application: "the application", client: "the visitor" };

/** What the time was spent on, in the order in which it was. */
function parts({ duration_ms: total, first_byte_ms: firstByte, queue_ms: queue, dial_ms: dial, wake_ms: wake }) {
  const answered = firstByte ?? total;
  const waited = Math.max(0, answered - queue - dial - wake);
  return [
    ["Waking up", wake],
    ["Waiting for a place", queue],
    ["Connecting", dial],
    [firstByte === null ? "No answer" : "Program's answer", waited],
    ["Transfer", firstByte === null ? 0 : total - firstByte],
  ].filter(([, ms]) => ms > 0);
}

function timeline(record) {
  const found = parts(record);
  const total = Math.max(record.duration_ms, 0.001);
  let from = 0;
  const bars = found.map(([words, ms]) => {
    const bar = { words, ms, x: (from / total) * WIDTH, width: Math.max((ms / total) * WIDTH, 2) };
    from += ms;
    return bar;
  });
  const words = bars.map((bar) => `${bar.words} ${duration(bar.ms)}`).join(", ");
  return h(
    "section",
    { class: "timeline", "aria-label": "Where the time went" },
    h("h3", null, `Where the time went: ${duration(record.duration_ms)}`),
    bars.length > 0 && h(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${bars.length * ROW}`, role: "img", "aria-label": words, preserveAspectRatio: "none" },
      bars.map((bar, index) => svg("rect", { class: "bar", x: bar.x, y: index * ROW + 3, width: bar.width, height: ROW - 6 })),
    ),
    h("ol", { class: "legend" }, bars.map((bar) => h("li", null, h("span", null, bar.words), h("strong", null, duration(bar.ms))))),
  );
}

function captured(record) {
  const place = h("div", { class: "stack" });
  const open = actionButton("Show headers and bodies", async () => {
    const { data } = await get(`/api/v1/request-logs/${record.id}/capture`);
    replace(place, exchange("Request", `${data.request.method} ${data.request.target}`, data.request), data.response === null ? h("p", { class: "muted" }, "The program sent no response.") : exchange("Response", String(data.response.status), data.response));
    open.remove();
  }, { failed: (error) => replace(place, errorBox(error)) });
  return h("section", { class: "stack", "aria-label": "Headers and bodies" }, h("h3", null, "Headers and bodies"), open, place);
}

/** One side of what was captured. */
function exchange(title, line, { headers, headers_cut: cut, body }) {
  const text = body.text ?? body.base64;
  return h(
    "div",
    { class: "stack" },
    h("h4", null, `${title}: `, h("code", null, line)),
    h("dl", { class: "facts headers" }, headers.map((header) => [h("dt", null, header.name), h("dd", null, header.value, header.cut && h("span", { class: "muted" }, " (cut)"))])),
    cut && h("p", { class: "muted" }, "There were more headers."),
    body.size > 0 && [
      h("p", { class: "muted small" }, `Body of ${number(body.size)} bytes${body.content_encoding === null ? "" : `, ${body.content_encoding}`}${body.text === null ? ", in base64" : ""}${body.whole ? "" : "; only its beginning was kept"}${body.masked ? "; secrets are masked" : ""}.`),
      text !== null && text !== "" && h("pre", { tabindex: "0", "aria-label": `Body of the ${title.toLowerCase()}` }, text),
    ],
  );
}

function replayPart(record, replayed) {
  if (!record.captured) return h("p", { class: "muted" }, "Switch on capture at the resource to see headers and bodies of its requests, and to send them once more.");
  const place = h("div", { class: "stack", "aria-live": "polite" });
  const again = async (body) => {
    const { data } = await post(`/api/v1/request-logs/${record.id}/replay`, body);
    replace(place, outcome(data));
    replayed();
  };
  const button = h("button", { type: "button" }, "Send it once more");
  button.addEventListener("click", () => busy(button, () => again({}), (error) => replace(place, wanted(error) ?? errorBox(error))));

  /** A form for what was masked; null where nothing is asked for. */
  function wanted(error) {
    if (!(error instanceof ApiError) || error.status !== 422 || Object.keys(error.fields).length === 0) return null;
    const names = Object.keys(error.fields);
    return h(
      "div",
      { class: "stack" },
      h("p", null, "Parts of this request were masked, because they are secrets. Give them anew; an empty field leaves that part out."),
      form({
        fields: names.map((name) => ({ name, label: labelOf(name), kind: name === "body" ? "textarea" : "text" })),
        action: "Send it",
        submit: (values) => again(replacements(values)),
      }),
    );
  }

  return h("section", { class: "stack", "aria-label": "Replay" }, h("h3", null, "Send it once more"), h("p", { class: "muted" }, "To the same host, under today's rules. The program sees X-Miosa-Replay; a POST does what it did once more."), h("div", null, button), place);
}

const labelOf = (name) => (name === "body" ? "Body" : name.startsWith("query.") ? `Parameter ${name.slice(6)}` : `Header ${name.replace(/^headers\./, "")}`);

/** The body of a replay, of fields named `headers.cookie`, `query.token` and `body`. */
function replacements(values) {
  const found = { headers: {}, query: {} };
  for (const [name, value] of Object.entries(values)) {
    const [kind, ...rest] = name.split(".");
    if (kind === "body") found.body = value;
    else found[kind][rest.join(".")] = value === "" ? null : value;
  }
  return found;
}

function outcome(done) {
  const status = done.status === 0 ? "no answer" : String(done.status);
  return h(
    "div",
    { class: `notice ${done.status >= 200 && done.status < 400 ? "good" : "warn"}` },
    h("p", null, "It was answered with ", badge(status, status, toneOf({ status: done.status, fault: null })), done.error !== null && [" ", h("code", null, done.error)], done.in_time ? "." : "; it was given up after half a minute."),
    done.response !== null && h("details", null, h("summary", null, "Response"), exchange("Response", String(done.response.status), done.response)),
  );
}

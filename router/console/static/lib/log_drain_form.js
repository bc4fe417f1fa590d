// The form of a log drain, for a new one and for changes.
import { form } from "./form.js";

const KINDS = [["http", "HTTPS, in batches of JSON"], ["syslog", "Syslog over TLS"]];
const FORMATS = [["json", "A JSON array"], ["ndjson", "A line of JSON for each record"]];

/** `submit(body)` gets what the API takes. Headers and structured data are sent only where something was typed: what is stored is never shown. */
export function logDrainForm({ drain, close, action, submit }) {
  const made = drain !== null;
  return form({
    fields: [
      { name: "name", label: "Name", required: true, value: drain?.name ?? "" },
      ...(made ? [] : [{ name: "kind", label: "How", kind: "select", options: KINDS, value: "http" }]),
      { name: "url", label: "URL", required: true, value: drain?.url ?? "", placeholder: "https://logs.example.com/in", hint: "https at a public address; for syslog syslog+tls://host:port." },
      ...(drain?.kind === "syslog" ? [] : [
        { name: "format", label: "Body", kind: "select", options: FORMATS, value: drain?.format ?? "json", hint: "Of batches by HTTPS." },
        { name: "headers", label: "Headers", kind: "textarea", placeholder: "DD-API-KEY: …", hint: made ? "One to a line. Left empty, those that are set stay." : "One to a line, such as a service's API key. Kept encrypted." },
      ]),
      ...(drain?.kind === "http" ? [] : [{ name: "structured_data", label: "Structured data of syslog lines", placeholder: '[TOKEN@41058 tag="edge"]', hint: made ? "Left empty, what is set stays." : "Where the service wants its token there." }]),
      { name: "errors_only", label: "Only requests that failed or were refused", kind: "checkbox", value: drain?.errors_only ?? false },
    ],
    action,
    cancel: () => close(),
    submit: ({ name, kind, url, format, headers = "", structured_data: data = "", errors_only: errorsOnly }) => {
      const syslog = (kind ?? drain.kind) === "syslog";
      return submit({
        name,
        ...(made ? {} : { kind }),
        url,
        ...(syslog ? {} : { format }),
        ...(headers === "" ? {} : { headers: read(headers) }),
        ...(data === "" ? {} : { structured_data: data }),
        errors_only: errorsOnly,
      });
    },
  });
}

function read(text) {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(lines.map((line) => {
    const [name, ...rest] = line.split(":");
    return [name.trim(), rest.join(":").trim()];
  }));
}

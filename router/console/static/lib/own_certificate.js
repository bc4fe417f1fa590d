// A certificate that the domain's owner brings: uploaded, asked for by a request (CSR), removed.
import { h, replace } from "./dom.js";
import { get, post, put, remove } from "./api.js";
import { badge, exact, moment } from "./format.js";
import { copyButton, errorBox, toast, writeButton } from "./feedback.js";
import { confirm, dialog } from "./dialog.js";
import { form } from "./form.js";

/** The section for the certificate at `path`; `name` is the domain's. */
export function ownCertificate(path, name, signal) {
  const place = h("div", { class: "stack" });

  async function load() {
    try {
      show((await get(path, { signal })).data);
    } catch (error) {
      if (error.name !== "AbortError") replace(place, errorBox(error, load));
    }
  }

  function show(own) {
    replace(
      place,
      own.state === "none"
        ? h("p", { class: "muted" }, "None: certificates come by themselves. Bring one where your company prescribes the authority, or to have it before DNS leads here.")
        : h("dl", { class: "facts" },
          h("dt", null, "State"), h("dd", null, badge(own.state)),
          h("dt", null, "For"), h("dd", null, own.names.join(", ")),
          h("dt", null, "Issuer"), h("dd", null, own.issuer),
          h("dt", null, "Valid until"), h("dd", null, exact(own.not_after), " (", moment(own.not_after), ")"),
          h("dt", null, "Served now"), h("dd", null, own.origin === "uploaded" ? "yours" : "the one that the router manages")),
      own.warnings.map((warning) => h("p", { class: "notice warn" }, warning.message)),
      own.request !== null && h("p", { class: "small" }, "A request (CSR) made ", moment(own.request.created_at), " waits for its certificate. ", h("button", { type: "button", class: "quiet copy", onclick: () => showRequest(own.request) }, "Show it")),
      h("div", { class: "row" },
        writeButton(own.state === "none" ? "Upload a certificate" : "Replace it", upload),
        writeButton("Make a request (CSR)", request),
        own.state !== "none" && writeButton("Remove it", drop, { kind: "danger" })),
    );
  }

  async function upload() {
    const found = await dialog({
      title: `A certificate for ${name}`,
      wide: true,
      body: (close) =>
        form({
          fields: [
            { name: "certificate", label: "Certificate and intermediates", kind: "textarea", required: true, placeholder: "-----BEGIN CERTIFICATE-----", hint: "In PEM, the certificate first." },
            { name: "private_key", label: "Private key", kind: "textarea", placeholder: "-----BEGIN PRIVATE KEY-----", hint: "In PEM, without a password. Leave it out after a request made here: the router has the key." },
          ],
          action: "Upload",
          cancel: () => close(),
          submit: async ({ certificate, private_key: key }) => close((await put(path, key === "" ? { certificate } : { certificate, private_key: key })).data),
        }),
    });
    if (found === null) return;
    toast("Certificate uploaded");
    show(found);
  }

  async function request() {
    await showRequest((await post(`${path}/csr`, {})).data);
    await load();
  }

  async function drop() {
    const done = await confirm({ title: "Remove the certificate?", text: `Visitors of ${name} get the router's own again, within seconds. The key is deleted.`, action: "Remove certificate", work: () => remove(path) });
    if (!done) return;
    toast("Certificate removed");
    await load();
  }

  load();
  return h("section", { class: "stack", "aria-label": "Your own certificate" }, h("h3", null, "Your own certificate"), place);
}

function showRequest({ csr, names }) {
  return dialog({
    title: "Certificate request",
    wide: true,
    body: (close) => [
      h("p", null, `For ${names.join(", ")}. Send it to your authority, then upload what it answers, without a key.`),
      h("pre", { tabindex: "0", "aria-label": "The request in PEM" }, csr),
      h("div", { class: "actions" }, copyButton(csr, "the request"), h("button", { type: "button", class: "primary", onclick: () => close() }, "Done")),
    ],
  });
}

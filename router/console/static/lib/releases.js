// A deployment's versions and releases: published, promoted, rolled back.
import { h } from "./dom.js";
import { get, post } from "./api.js";
import { badge, exact, moment } from "./format.js";
import { actionButton, toast, writeButton } from "./feedback.js";
import { confirm, dialog } from "./dialog.js";
import { form } from "./form.js";
import { all } from "./places.js";
import { to } from "./router.js";
import { emptyState, pagedList, table } from "./table.js";
import { nameOf } from "./resources.js";

const LOOK_EVERY = 3_000; // milliseconds, while a version is being built
const ACTIONS = { publish: "published", promote: "promoted", rollback: "rolled back" };

/** Sections with versions and releases: {node, load()}. `changed()` is called when another version is on air, or may be. */
export function releases({ path, deployment, signal, changed }) {
  let building = false;
  const versions = pagedList({
    noun: "versions",
    load: async ({ page }) => {
      const answer = await get(`${path}/versions`, { query: { page }, signal });
      building = answer.data.some((version) => ["created", "building"].includes(version.state));
      return answer;
    },
    show: (rows) => table({ caption: "Versions", columns: versionColumns, rows }),
    empty: () => emptyState({ title: "No versions yet", text: "A version is made of a sandbox's program. Publish one: it is checked, and then the deployment's hosts lead to it.", action: writeButton("Publish the first version", publish, { kind: "primary" }) }),
  });
  const versionColumns = [
    { title: "Version", cell: (version) => [h("strong", null, `Version ${version.version_number}`), isActive(version) && [" ", badge("live", "on air", "good")]] },
    { title: "State", cell: (version) => badge(version.state) },
    { title: "From", cell: (version) => (version.source_sandbox_id === null ? h("span", { class: "muted" }, "not a sandbox") : h("a", { href: to("/resources/sandboxes/:id", { id: version.source_sandbox_id }) }, "sandbox ", h("code", null, version.source_sandbox_id.slice(0, 8)))) },
    { title: "Made", kind: "short", cell: (version) => moment(version.created_at) },
    { title: "Was on air", kind: "short", cell: (version) => moment(version.promoted_at) },
    {
      title: "Actions",
      kind: "actions",
      cell: (version) => [
        version.build_id !== null && actionButton("Build", () => showBuild(version), { "aria-label": `Build of version ${version.version_number}` }),
        version.state === "ready" && !isActive(version) && writeButton("Promote", () => promote(version), { "aria-label": `Promote version ${version.version_number}` }),
      ],
    },
  ];
  const history = pagedList({
    noun: "releases",
    load: ({ page }) => get(`${path}/releases`, { query: { page }, signal }),
    show: (rows) => table({ caption: "Releases", columns: releaseColumns, rows }),
    empty: () => emptyState({ title: "No releases yet", text: "Each time that another version goes on air is noted here." }),
  });
  const releaseColumns = [
    { title: "When", kind: "short", cell: (release) => moment(release.created_at) },
    { title: "What", cell: (release) => `Version ${release.version_number} ${ACTIONS[release.action] ?? release.action}` },
    { title: "Environment", cell: (release) => release.environment },
    { title: "State", cell: (release) => badge(release.state) },
  ];
  const isActive = (version) => version.id === deployment().active_version_id;

  async function load() {
    await Promise.all([versions.reload(), history.reload()]);
  }

  async function again() {
    await changed();
    await load();
  }

  async function publish() {
    const sandboxes = await all("/api/v1/sandboxes", signal);
    if (sandboxes.length === 0) {
      await dialog({
        title: "No sandbox to publish",
        body: (close) => [h("p", null, "A version is made of a sandbox, and this key reaches none. Create a sandbox first, and run the program in it."), h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => close() }, "Close"))],
      });
      return;
    }
    const done = await dialog({
      title: "Publish a version",
      body: (close) =>
        form({
          fields: [
            { name: "source_sandbox_id", label: "Sandbox", kind: "select", value: sandboxes[0].id, options: sandboxes.map((one) => [one.id, `${nameOf(one)} (${one.state})`]) },
            { name: "port", label: "Port", kind: "number", hint: "What its program listens on. Empty: the sandbox's default port." },
            { name: "health_check_path", label: "Health check path", placeholder: "/healthz", hint: "It has to answer with a status below 400. Empty: the port has to take connections." },
            { name: "promote", label: "Put it on air once it is ready", kind: "checkbox", value: true },
          ],
          action: "Publish",
          cancel: () => close(),
          submit: async ({ source_sandbox_id: source, port, health_check_path: check, promote: live }) => {
            await post(`${path}/publish`, { source_sandbox_id: source, promote: live, wait: false, ...(port === "" ? {} : { port: Number(port) }), ...(check === "" ? {} : { health_check_path: check }) });
            close(true);
          },
        }),
    });
    if (done === null) return;
    toast("The version is being made");
    await again();
  }

  async function promote(version) {
    const done = await confirm({ title: `Promote version ${version.version_number}?`, text: "New requests go to it at once; requests under way finish where they are.", action: "Promote version", work: () => post(`${path}/versions/${version.id}/promote`, {}) });
    if (!done) return;
    toast(`Version ${version.version_number} is on air`);
    await again();
  }

  async function rollBack() {
    const ready = (await get(`${path}/versions`, { query: { state: "ready", page_size: 100 }, signal })).data;
    const before = ready.filter((version) => version.promoted_at !== null && !isActive(version));
    if (before.length === 0) return toast("No other version was on air before, so there is none to roll back to.", "bad");
    const done = await dialog({
      title: "Roll back?",
      body: (close) => [
        h("p", null, "New requests go to that version at once; requests under way finish where they are. Nothing is built anew."),
        form({
          fields: [{ name: "version_id", label: "Back to", kind: "select", value: before[0].id, options: before.map((version) => [version.id, `Version ${version.version_number}, last put on air ${exact(version.promoted_at)}`]) }],
          action: "Roll back",
          cancel: () => close(),
          submit: async (body) => {
            await post(`${path}/rollback`, body);
            close(before.find((version) => version.id === body.version_id).version_number);
          },
        }),
      ],
    });
    if (done === null) return;
    toast(`Rolled back to version ${done}`);
    await again();
  }

  async function showBuild(version) {
    const build = (await get(`${path}/builds/${version.build_id}`, { signal })).data;
    await dialog({
      title: `Build of version ${version.version_number}`,
      wide: true,
      body: (close) => [
        h("div", { class: "row" }, badge(build.state), h("span", { class: "muted" }, "started ", exact(build.started_at), build.duration_ms !== null && `, took ${build.duration_ms} ms`)),
        build.error_message !== null && h("div", { class: "notice bad" }, h("p", null, build.error_message)),
        h("pre", { tabindex: "0", role: "region", "aria-label": "Log of the build" }, build.log || "No lines."),
        h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => close() }, "Done")),
      ],
    });
  }

  const timer = setInterval(() => { if (building && !document.hidden && document.querySelector("dialog[open]") === null) again().catch((error) => { if (error.name !== "AbortError") console.warn(error.message); }); }, LOOK_EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
  const node = [
    h("section", { class: "stack", "aria-label": "Versions" }, h("div", { class: "spread" }, h("h2", null, "Versions"), h("div", { class: "row" }, writeButton("Roll back…", rollBack), writeButton("Publish a version", publish, { kind: "primary" }))), versions.node),
    h("section", { class: "stack", "aria-label": "Releases" }, h("h2", null, "Releases"), history.node),
  ];
  return { node, load };
}

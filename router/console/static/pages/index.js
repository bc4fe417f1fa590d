// All pages of the console, in the order of the navigation. A page is a module with `render({params, query, signal, title, who, reload})`, which
// answers with what to show, a heading `h1` first. `group` puts it into the navigation; `visible(who)` says for whom it is there. A key of the
// platform's has pages of its own: it speaks for no tenant.

const wholeTenant = (who) => who.workspace === null && who.project === null;

const operator = (who) => who.scope === "platform";
const explain = { path: "/explain", title: "Explain a host", group: "Names", load: () => import("./explain.js") };
const apiKeys = { path: "/api-keys", title: "API keys", group: "Account", visible: wholeTenant, load: () => import("./api_keys.js") };

const OPERATORS = [
  { path: "/", title: "Status", group: "Platform", load: () => import("./platform.js") },
  { path: "/organizations", title: "Organizations", group: "Platform", load: () => import("./organizations.js") },
  explain,
  apiKeys,
];

const TENANTS = [
  { path: "/", title: "Overview", group: "Your traffic", load: () => import("./overview.js") },
  { path: "/requests", title: "Requests", group: "Your traffic", load: () => import("./requests.js") },
  { path: "/resources", title: "Resources", group: "Resources", load: () => import("./resources.js") },
  { path: "/resources/sandboxes/:id", title: "Sandbox", load: () => import("./machine.js").then(({ sandbox }) => ({ render: sandbox })) },
  { path: "/resources/computers/:id", title: "Computer", load: () => import("./machine.js").then(({ computer }) => ({ render: computer })) },
  { path: "/resources/deployments/:id", title: "Deployment", load: () => import("./deployment.js") },
  { path: "/domains", title: "Domains", group: "Names", load: () => import("./domains.js") },
  { path: "/domains/:id", title: "Domain", load: () => import("./domain.js") },
  { path: "/preview-domains", title: "Preview domains", group: "Names", load: () => import("./preview_domains.js") },
  explain,
  { path: "/webhooks", title: "Webhooks", group: "Account", load: () => import("./webhooks.js") },
  { path: "/webhooks/:id", title: "Webhook", load: () => import("./webhook.js") },
  { path: "/log-drains", title: "Log drains", group: "Account", visible: wholeTenant, load: () => import("./log_drains.js") },
  { path: "/log-drains/:id", title: "Log drain", load: () => import("./log_drain.js") },
  apiKeys,
];

export const PAGES = [
  ...OPERATORS.map((page) => ({ ...page, visible: (who) => operator(who) && (page.visible?.(who) ?? true) })),
  ...TENANTS.map((page) => ({ ...page, visible: (who) => !operator(who) && (page.visible?.(who) ?? true) })),
];

// All pages of the console, in the order of the navigation. A page is a module with `render({params, query, signal, title, who, reload})`, which
// answers with what to show, a heading `h1` first. `group` puts it into the navigation; `visible(who)` says for whom it is there.

const wholeTenant = (who) => who.workspace === null && who.project === null;

export const PAGES = [
  { path: "/", title: "Overview", group: "Your traffic", load: () => import("./overview.js") },
  { path: "/api-keys", title: "API keys", group: "Account", visible: wholeTenant, load: () => import("./api_keys.js") },
];

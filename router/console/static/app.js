// Starts the console: the login while nobody is logged in, else the layout with the page that the address names.
import { onChange, refuse } from "./lib/session.js";
import { h, replace } from "./lib/dom.js";
import { finish, takeCode } from "./lib/sign_in.js";
import { layout } from "./layout.js";
import { login } from "./login.js";

const app = document.getElementById("app");
let leave = () => {};

function show(session) {
  leave();
  leave = () => {};
  document.querySelectorAll("dialog").forEach((open) => open.remove()); // they may show what belongs to the session
  if (session.who === null) {
    replace(app, login(session.reason));
    app.querySelector("input").focus();
  } else {
    const shown = layout(session.who);
    replace(app, shown.node);
    leave = shown.leave;
    shown.start();
  }
}

const code = takeCode();
if (code === null) onChange(show);
else {
  replace(app, h("main", { class: "login", "aria-busy": "true" }, h("h1", null, "MIOSA console"), h("p", { role: "status" }, "Signing in…")));
  finish(code).catch((error) => refuse(error.message)).finally(() => onChange(show));
}

// Who is logged in. The key, or the token of somebody who has signed in, is in this module's memory alone: never in storage, a cookie or the address, so a reload asks again.

const IDLE = Number(document.querySelector("meta[name=idle-timeout]").content) * 1000;
const LOOK_EVERY = 5_000; // milliseconds between two looks at the clock, which goes on while the machine sleeps

let key = null;
let session = { who: null, reason: null };
let lastActivity = 0;
const listeners = new Set();

function change(next) {
  session = next;
  for (const listener of listeners) listener(session);
}

/** Call `listener` with the session now, and each time that somebody logs in or out. */
export function onChange(listener) {
  listeners.add(listener);
  listener(session);
}

/** The Authorization header of a request; null while nobody is logged in. */
export function authorization() {
  return key === null ? null : `Bearer ${key}`;
}

/** Whom the key speaks for: what /whoami answers. */
export function who() {
  return session.who;
}

/** Whether they may change anything: who signs in by the organization's login may be there only to read. */
export const mayWrite = () => session.who !== null && !session.who.read_only;

/** From now on requests carry this key. */
export function begin(newKey, whoami) {
  key = newKey;
  lastActivity = Date.now();
  change({ who: whoami, reason: null });
}

/** Forget the key, and say why at the login. */
export function end(reason) {
  if (key === null) return;
  if (session.who.credential === "session") endThere(key);
  key = null;
  change({ who: null, reason });
}

/** Say at the login why nobody is logged in. */
export function refuse(reason) {
  change({ who: null, reason });
}

/** Make the token void for everybody, as far as the network lets us: it is by itself within an hour. */
function endThere(token) {
  fetch("/api/v1/console/session", { method: "DELETE", headers: { Authorization: `Bearer ${token}` }, credentials: "omit", keepalive: true }).catch(() => {});
}

const minutes = Math.max(1, Math.round(IDLE / 60_000));

function look() {
  if (key !== null && session.who.expires_at !== null && Date.now() >= Date.parse(session.who.expires_at)) {
    end("Your session is over: one lasts an hour. Sign in again.");
  }
  if (key !== null && Date.now() - lastActivity >= IDLE) {
    end(`You were logged out: nothing was done for ${minutes} minute${minutes === 1 ? "" : "s"}.`);
  }
}

function active() {
  look(); // a key press after an hour is no activity of that hour
  lastActivity = Date.now();
}

for (const event of ["pointerdown", "keydown", "wheel", "touchstart"]) {
  addEventListener(event, active, { capture: true, passive: true });
}
setInterval(look, LOOK_EVERY);
addEventListener("visibilitychange", look);
// A page that the browser keeps for its Back button keeps no key.
addEventListener("pagehide", () => end("You left the console. Log in again."));

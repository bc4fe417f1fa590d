// Who is logged in. The key is in this module's memory alone: never in storage, a cookie or the address, so a reload asks again.

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

/** From now on requests carry this key. */
export function begin(newKey, whoami) {
  key = newKey;
  lastActivity = Date.now();
  change({ who: whoami, reason: null });
}

/** Forget the key, and say why at the login. */
export function end(reason) {
  if (key === null) return;
  key = null;
  change({ who: null, reason });
}

const minutes = Math.max(1, Math.round(IDLE / 60_000));

function look() {
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

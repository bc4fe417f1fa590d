// The API's client: sends the session's key, reads the envelopes, and makes one kind of error of all that goes wrong.
import { authorization, end, who } from "./session.js";

const TIMEOUT = 65_000; // milliseconds; the API gives a handler 60 s

/** What the API refused, or why it could not be asked. `fields` are the messages of wrong fields, by their name; `claim` is what shows that a
 * domain of another account is the caller's. */
export class ApiError extends Error {
  constructor({ status, code, message, fields = {}, requestId = null, docsUrl = null, retryAfter = null, claim }) {
    super(message);
    Object.assign(this, { name: "ApiError", status, code, fields, requestId, docsUrl, retryAfter, claim });
  }
}

/** One request. Answers with the body's JSON. Raises ApiError, or the signal's AbortError. */
export async function request(method, path, { query, body, signal, key, credentials } = {}) {
  const response = await send(method, path, { query, body, signal, key, credentials });
  const answer = await read(response);
  if (!response.ok) throw refusal(response, answer, key);
  return answer;
}

export const get = (path, options) => request("GET", path, options);
export const post = (path, body, options) => request("POST", path, { ...options, body });
export const put = (path, body, options) => request("PUT", path, { ...options, body });
export const patch = (path, body, options) => request("PATCH", path, { ...options, body });
export const remove = (path, options) => request("DELETE", path, options);

/** Listen to a stream of events until `signal` aborts or the server ends it: `heard({id, name, data})` for each. Answers
 * with the id of the last one, from which `lastEventId` goes on. */
export async function listen(path, heard, { query, signal, lastEventId = "" }) {
  const headers = { Accept: "text/event-stream", ...(lastEventId ? { "Last-Event-ID": lastEventId } : {}) };
  const response = await send("GET", path, { query, signal, headers, timeout: null });
  if (!response.ok) throw refusal(response, await read(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let last = lastEventId;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return last;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event === null) continue;
      last = event.id || last;
      heard(event);
    }
  }
}

function parseEvent(block) {
  const event = { id: "", name: "message", data: "" };
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) event.id = line.slice(4);
    else if (line.startsWith("event: ")) event.name = line.slice(7);
    else if (line.startsWith("data: ")) event.data += line.slice(6);
  }
  return event.data ? { ...event, data: JSON.parse(event.data) } : null;
}

async function send(method, path, { query, body, signal, key, headers = {}, timeout = TIMEOUT, credentials = "omit" }) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  const bearer = key === undefined ? authorization() : `Bearer ${key}`;
  const sent = { ...headers, ...(bearer === null ? {} : { Authorization: bearer }) };
  if (method !== "GET") sent["Idempotency-Key"] = randomId(); // a retry of the network is no second request
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const signals = [signal, timeout === null ? null : AbortSignal.timeout(timeout)].filter(Boolean);
  try {
    return await fetch(url, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials,
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: signals.length > 0 ? AbortSignal.any(signals) : undefined,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = error.name === "TimeoutError";
    const message = late ? "The API did not answer in time." : "The API can't be reached. Check the connection, then try again.";
    throw new ApiError({ status: 0, code: late ? "timeout" : "unreachable", message });
  }
}

async function read(response) {
  const text = await response.text();
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refusal(response, answer, key) {
  const error = answer?.error ?? {};
  const refused = new ApiError({
    status: response.status,
    code: error.code ?? "unknown",
    message: error.message ?? `The API answered with status ${response.status}.`,
    fields: error.fields ?? {},
    requestId: error.request_id ?? response.headers.get("X-Request-ID"),
    docsUrl: error.docs_url ?? null,
    retryAfter: response.headers.get("Retry-After"),
    claim: error.claim,
  });
  // The login itself says what is wrong with the key that it tries.
  if (response.status === 401 && key === undefined) {
    const person = who()?.credential === "session";
    end(person ? "Your session has ended. Sign in again." : "You were logged out: the API no longer accepts this key. It was revoked, rotated, or has expired.");
  }
  return refused;
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

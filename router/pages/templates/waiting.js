(() => {
  const page = document.querySelector("[data-stage]");
  const order = ["asked", "starting", "running", "open"];
  const say = (name, text) => { document.querySelector(`[data-${name}]`).textContent = text; };
  const again = () => location.reload();
  const show = (stage) => {
    page.dataset.stage = stage;
    const reached = order.indexOf(stage === "queued" ? "asked" : stage);
    document.querySelectorAll("[data-step]").forEach((step, place) => {
      step.className = place < reached || stage === "open" ? "done" : place === reached ? "now" : "";
    });
  };
  document.querySelectorAll("[data-scripted]").forEach((part) => { part.hidden = false; });
  const resend = document.querySelector("[data-resend]");
  if (resend) resend.addEventListener("click", again);
  const source = new EventSource(page.dataset.source);
  source.onmessage = (message) => {
    const told = JSON.parse(message.data);
    say("text", told.stage === "failed" ? "" : told.text);
    if (told.stage === "failed") {
      source.close();
      page.dataset.stage = "failed";
      say("heading", told.heading);
      say("intro", told.text + (resend ? " What you have sent was not sent on." : ""));
      say("code", told.code);
      document.querySelector("[data-steps]").hidden = true;
      document.querySelector("[data-waiting]").hidden = true;
      document.querySelector("[data-failed]").hidden = false;
      return;
    }
    show(told.stage);
    if (told.stage !== "open") return;
    source.close();
    if (resend) resend.disabled = false;
    else again();
  };
  // Closed for good: it runs already and answers this path itself, or we have no room. A look at the address tells which.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED && !resend) setTimeout(again, 2000 + 2000 * Math.random());
    else if (source.readyState === EventSource.CLOSED) resend.disabled = false;
  };
})();

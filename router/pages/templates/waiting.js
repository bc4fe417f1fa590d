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
  let lost = 0;
  const source = new EventSource(page.dataset.source);
  source.onmessage = (message) => {
    const told = JSON.parse(message.data);
    lost = 0;
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
  // Closed for good, or ended again and again without a word: it runs already and answers this path itself, it may not be woken
  // any more, or we have no room. A look at the address tells which.
  source.onerror = () => {
    lost += 1;
    if (source.readyState !== EventSource.CLOSED && lost < 4) return;
    source.close();
    if (resend) resend.disabled = false;
    else setTimeout(again, 2000 + 2000 * Math.random());
  };
})();

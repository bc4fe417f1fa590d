const form = document.querySelector("form");
const output = document.querySelector("output");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  output.textContent = "On its way…";
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    output.textContent = answer.ok ? JSON.stringify(await answer.json(), null, 2) : `Refused: ${answer.status}`;
  } catch (error) {
    output.textContent = `It did not arrive: ${error.message}`;
  }
});

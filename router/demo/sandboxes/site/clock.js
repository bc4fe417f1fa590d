const time = document.querySelector(".time");
const state = document.querySelector("#state");
const events = new EventSource("/events");
let count = 0;

events.addEventListener("tick", (event) => {
  count += 1;
  time.textContent = event.data;
  state.textContent = `Connected; events so far: ${count}`;
});
events.addEventListener("error", () => {
  state.textContent = "The stream broke off; the browser connects again by itself";
});

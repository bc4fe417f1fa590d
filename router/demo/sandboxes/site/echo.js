const log = document.querySelector("pre");
const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
const write = (line) => { log.textContent += `${line}\n`; };

socket.addEventListener("open", () => write("connected"));
socket.addEventListener("close", (event) => write(`closed: ${event.code}`));
socket.addEventListener("message", (event) => write(`← ${event.data}`));

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = event.target.words.value;
  write(`→ ${words}`);
  socket.send(words);
});

// Engine.IO over WebSocket in its smallest form: "2" is a ping to be answered with "3", "4…" is a message.
const clock = document.getElementById("clock");
const socket = new WebSocket(`${location.origin.replace("http", "ws")}/engine.io/?EIO=4&transport=websocket`);
socket.onmessage = ({ data }) => {
  if (data === "2") socket.send("3");
  if (data.startsWith("4")) clock.textContent = new Date(Number(data.slice(1)) * 1000).toLocaleTimeString();
};
socket.onclose = () => (clock.textContent = "the connection is lost");

// engine.io with ws, as an echo server for the benchmarks. Prints its address, then serves until it is ended.
"use strict";

const http = require("node:http");
const { Server } = require("engine.io");

const at = process.argv.indexOf("--ping-ms");
const pingInterval = at > 0 ? Number(process.argv[at + 1]) : 25000;

const engine = new Server({ pingInterval, pingTimeout: 20000, maxHttpBufferSize: 1e6 });
const sockets = new Set();

engine.on("connection", (socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
  socket.on("message", (data) => {
    if (typeof data === "string" && data.startsWith("bcast:")) {
      for (const other of sockets) other.send(data);
    } else {
      socket.send(data);
    }
  });
});

const server = http.createServer();
server.keepAliveTimeout = 120000;
engine.attach(server);
server.listen(0, "127.0.0.1", 4096, () => console.log(`127.0.0.1:${server.address().port}`));

// Clients of engine.io-client in one process, measured as the clients of the benchmark's own program are:
// client.js MODE --addr 127.0.0.1:5000 --size 32 --clients 100 --depth 1 --warm-up-ms 300 --window-ms 1000
"use strict";

const fs = require("node:fs");
const { Socket } = require("engine.io-client");

const mode = process.argv[2];
const options = {};
for (let at = 3; at < process.argv.length; at += 2) options[process.argv[at].slice(2)] = process.argv[at + 1];
const [size, count, depth, warmUp, windowMs] = ["size", "clients", "depth", "warm-up-ms", "window-ms"].map((name) =>
  Number(options[name]),
);
const transports = mode.endsWith("poll") || mode.includes("poll-") ? ["polling"] : ["websocket"];

let messages = 0;
let stopped = false;
let measuring = false;
const latencies = [];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The scheduler's clock of all threads: the nanoseconds for which they ran, and for which they were ready to.
function clock() {
  const sum = { ran: 0, waited: 0 };
  for (const task of fs.readdirSync("/proc/self/task")) {
    try {
      const [ran, waited] = fs.readFileSync(`/proc/self/task/${task}/schedstat`, "utf8").split(" ").map(Number);
      sum.ran += ran;
      sum.waited += waited;
    } catch {
      // A thread that has just ended.
    }
  }
  return sum;
}

const resident = () => Number(/^Rss: +(\d+)/m.exec(fs.readFileSync("/proc/self/smaps_rollup", "utf8"))[1]);

function fail(error) {
  console.error(error);
  process.exit(1);
}

function open() {
  return new Promise((resolve, reject) => {
    const socket = new Socket(`http://${options.addr}`, { transports, upgrade: false });
    socket.once("open", () => {
      socket.off("error", reject);
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

// Opens clients, 32 at a time.
async function openAll(clients) {
  const sockets = [];
  const opening = async () => {
    while (sockets.length < clients) {
      const at = sockets.push(null) - 1;
      sockets[at] = await open();
    }
  };
  await Promise.all(Array.from({ length: 32 }, opening));
  return sockets;
}

function text(client, slot) {
  let text = `client ${String(client).padStart(6)} message ${String(slot).padStart(3)} `;
  for (let at = 0; text.length < size; at++) text += String.fromCharCode(32 + ((at * 7) % 95));
  return text.slice(0, size);
}

// Lets the clients run for the warm-up and the window, and gives what happened within the window.
async function window(finished) {
  await sleep(warmUp);
  const [start, at, before] = [clock(), process.hrtime.bigint(), messages];
  measuring = true;
  await sleep(windowMs);
  measuring = false;
  const [end, until, after] = [clock(), process.hrtime.bigint(), messages];
  stopped = true;
  await Promise.race([finished, sleep(5000).then(() => fail("some messages were never echoed"))]);
  const done = after - before;
  if (done === 0) fail("nothing happened within the window");
  const seconds = Number(until - at) / 1e9;
  latencies.sort((a, b) => a - b);
  const quantile = (part) => latencies[Math.floor(latencies.length * part)] ?? 0;
  return {
    messages: done,
    seconds,
    per_second: done / seconds,
    cpu_us: (end.ran - start.ran) / 1e3 / done,
    server_busy: (end.ran - start.ran) / 1e9 / seconds,
    server_wait: (end.waited - start.waited) / 1e9 / seconds,
    p50_us: quantile(0.5),
    p99_us: quantile(0.99),
  };
}

async function echo() {
  const sockets = await openAll(count);
  const ends = sockets.map(
    (socket, client) =>
      new Promise((resolve) => {
        const texts = Array.from({ length: depth }, (_, slot) => text(client, slot));
        let received = 0;
        let inFlight = depth;
        socket.on("message", (data) => {
          if (data !== texts[received++ % depth]) fail("an echo differs");
          messages += 1;
          if (!stopped) socket.send(data);
          else if (--inFlight === 0) socket.close();
        });
        socket.on("close", (reason) => (reason === "forced close" ? resolve() : fail(`closed: ${reason}`)));
        for (const text of texts) socket.send(text);
      }),
  );
  return window(Promise.all(ends));
}

async function connect() {
  const task = async () => {
    while (!stopped) {
      const start = process.hrtime.bigint();
      const socket = await open();
      if (measuring) latencies.push(Number(process.hrtime.bigint() - start) / 1e3);
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.close();
      await closed;
      messages += 1;
    }
  };
  return window(Promise.all(Array.from({ length: count }, task)));
}

async function idle() {
  const first = await openAll(64);
  await sleep(warmUp);
  const [memory, opening] = [resident(), clock()];
  const sockets = await openAll(count);
  await sleep(warmUp);
  const opened = clock();
  await sleep(windowMs);
  const held = resident();
  for (const socket of [...first, ...sockets]) if (socket.readyState !== "open") fail("an idle client ended");
  return {
    clients: count,
    kib_per_client: (held - memory) / count,
    open_cpu_us: (opened.ran - opening.ran) / 1e3 / count,
    server_wait: 0,
  };
}

const modes = {
  "client-ws-echo": echo,
  "client-poll-echo": echo,
  "client-connect-ws": connect,
  "client-connect-poll": connect,
  "client-idle-ws": idle,
  "client-idle-poll": idle,
};
modes[mode]()
  .then((figures) => {
    console.log(JSON.stringify(figures));
    process.exit(0);
  })
  .catch(fail);

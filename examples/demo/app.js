// The page: one connection, one chart, one list of messages.
// The protocol itself is in engineio.js.

import { EngineSocket } from "./engineio.js";
import { PacketStream } from "./webtransport.js";

const PING_EVERY = 250; // ms between two round-trip measurements
const WINDOW = 30_000; // ms shown by the chart
const MAX_UNANSWERED = 8; // pings under way before waiting for an answer
const MAX_MESSAGES = 60;
const MAX_EVENTS = 60;

const $ = (id) => document.getElementById(id);
const body = document.body;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const NAMES = { polling: "Polling", websocket: "WebSocket", webtransport: "WebTransport", none: "Connecting" };
const EXPLAIN = {
  upgrade: "Begins with long-polling, which gets through everywhere, and moves to a WebSocket once a probe has shown that it works.",
  polling: "Stays on HTTP long-polling: one request waits for news, another one carries each ping.",
  websocket: "Goes straight to a WebSocket and saves the first round trips, but fails where a proxy does not let it pass.",
};
const MODES = { upgrade: ["polling", "websocket"], polling: ["polling"], websocket: ["websocket"] };

// The hash of the certificate, if the server listens for WebTransport and the browser knows it.
const certificate = PacketStream.isSupported && body.dataset.certificate;
let webtransport; // opens a session
if (certificate) {
  const value = Uint8Array.from(certificate.match(/../g), (digits) => parseInt(digits, 16));
  const serverCertificateHashes = [{ algorithm: "sha-256", value }];
  webtransport = (url, sid) => new PacketStream(url, sid, { serverCertificateHashes });
  MODES.upgrade.push("webtransport");
  MODES.webtransport = ["webtransport"];
  EXPLAIN.upgrade = "Begins with long-polling, and moves to WebTransport, or else to a WebSocket, once a probe has shown that it works.";
  EXPLAIN.webtransport = "Goes straight to WebTransport, over QUIC, but fails where UDP does not get through.";
  $("mode-webtransport").hidden = $("legend-webtransport").hidden = false;
}

let socket = null;
let mode = "upgrade";
let startedAt = 0; // when this connection attempt began
let openedAt = 0; // when it succeeded; 0 while it has not
let attempts = 0; // failures in a row
let retryAt = 0; // when the next attempt is due; 0 if none is
let nextPing = 1;
const unanswered = new Map(); // n → { sent, series }
const points = []; // { t, ms, series }, oldest first
const marks = []; // { t, label }: moments shown in the chart
const history = { polling: [], websocket: [], webtransport: [] }; // for comparing them

// ---- connecting -----------------------------------------------------------------

function connect() {
  const previous = socket;
  socket = null; // its late events are no longer ours
  previous?.close();
  retryAt = 0;
  unanswered.clear();
  startedAt = performance.now();
  openedAt = 0;
  setState("opening");
  setTransport("none");
  resetRail();
  $("explain").textContent = EXPLAIN[mode];
  note("start", mode === "upgrade" ? "Connecting" : `Connecting, ${mode === "polling" ? "polling" : NAMES[mode]} only`);

  const mine = new EngineSocket("engine.io/", { transports: MODES[mode], webtransport });
  const on = (type, react) => mine.on(type, (detail) => mine === socket && react(detail));
  socket = mine;

  let probedAt = 0;
  let better = MODES[mode].at(-1); // the transport that is tried
  on("open", ({ sid }) => {
    openedAt = performance.now();
    const took = ms(openedAt - startedAt);
    $("sid").textContent = `${sid.slice(0, 6)}…`;
    $("sid").title = sid;
    showNodes();
    setState("open");
    setTransport(mine.transport);
    step("handshake", "done");
    step(mine.transport, "done");
    note(mine.transport, `Handshake in ${took} ms`);
    mark(NAMES[mine.transport]);
    if (mine.transport === "polling" && mode === "upgrade") step("probe", "doing");
    ping();
  });
  on("probe", ({ transport }) => {
    better = transport;
    aim(better);
    step("probe", "doing");
    probedAt = performance.now();
    note("polling", `Probing ${better === "websocket" ? "a WebSocket" : NAMES[better]}`);
  });
  on("upgrading", () => {
    step("probe", "done");
    step(better, "doing");
    note(better, `Probe answered in ${ms(performance.now() - probedAt)} ms`);
  });
  on("upgrade", () => {
    setTransport(better, true);
    showNodes();
    step(better, "done");
    note(better, `Upgraded after ${ms(performance.now() - startedAt)} ms`);
    mark(NAMES[better]);
  });
  on("upgradeError", ({ transport, error }) => {
    aim(transport);
    step("probe", "failed");
    step(transport, "skip");
    note("lost", `Upgrade failed (${error}), polling goes on`);
  });
  on("message", receive);
  on("close", ({ reason, description }) => {
    // A connection that held for a while starts the back-off from the beginning.
    if (openedAt && performance.now() - openedAt > 5_000) attempts = 0;
    note("lost", description ? `${openedAt ? "Lost" : "Failed"}: ${reason}, ${description}` : `Lost: ${reason}`);
    if (!openedAt) step("handshake", "failed");
    retryLater();
    setTransport("none");
  });
}

// Doubling from half a second up to ten, with some jitter, so that the pages
// do not all come back in the same instant after a restart of the server.
function retryLater() {
  attempts += 1;
  openedAt = 0;
  const wait = Math.min(10_000, 500 * 2 ** (attempts - 1)) * (0.75 + Math.random() / 2);
  retryAt = performance.now() + wait;
  setState("reconnecting");
  note("none", `Next attempt in ${(wait / 1000).toFixed(1)} s`);
}

function changeMode(next) {
  mode = body.dataset.mode = next;
  window.history.replaceState(null, "", next === "upgrade" ? location.pathname : `#${next}`);
  restart();
}

function restart() {
  attempts = 0;
  connect();
}

// ---- what the server says ---------------------------------------------------------

function receive(data) {
  if (typeof data !== "string") return;
  if (socket.transport === "polling") showNodes();
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return;
  }
  if (message.type === "ping") pong(message.n);
  else if (message.type === "say") showMessage(message);
  else if (message.type === "clients") showClients(message.count);
}

function ping() {
  if (document.hidden || socket?.state !== "open" || unanswered.size >= MAX_UNANSWERED) return;
  const n = nextPing++;
  unanswered.set(n, { sent: performance.now(), series: socket.transport });
  socket.send(JSON.stringify({ type: "ping", n }));
}

function pong(n) {
  const ping = unanswered.get(n);
  if (!ping) return;
  unanswered.delete(n);
  const t = performance.now();
  const point = { t, ms: t - ping.sent, series: ping.series };
  points.push(point);
  while (points[0].t < t - WINDOW) points.shift();
  while (marks.length && marks[0].t < t - WINDOW) marks.shift();
  const known = history[point.series];
  if (known.push(point.ms) > 240) known.shift();

  const recent = points.filter((p) => p.series === point.series).map((p) => p.ms).sort((a, b) => a - b);
  $("now").textContent = ms(point.ms);
  $("median").textContent = ms(quantile(recent, 0.5));
  $("p99").textContent = ms(quantile(recent, 0.99));
  compare();

  const { dataset } = $("chart");
  dataset.points = points.length;
  dataset.series = point.series;
  dataset.latest = n;
  if (n % 20 === 0) {
    $("chart").ariaLabel = `Round-trip latency over the last 30 seconds: median ${ms(quantile(recent, 0.5))} milliseconds on ${point.series}`;
  }
  if (calm.matches) draw();
  else animate();
}

function compare() {
  const median = {};
  for (const [series, values] of Object.entries(history)) {
    if (values.length < 8) continue; // too few to say anything
    median[series] = quantile(values.slice().sort((a, b) => a - b), 0.5);
    $(`median-${series}`).textContent = `${ms(median[series])} ms`;
  }
  const [quickest] = ["websocket", "webtransport"].filter((name) => median[name]).sort((a, b) => median[a] - median[b]);
  if (!median.polling || !quickest) return;
  const ratio = median.polling / median[quickest];
  $("verdict").textContent = ratio > 1.05 ? `${NAMES[quickest]} is ${ratio.toFixed(1)}× quicker` : "";
}

// In a cluster the id of a session ends with the name of the node that owns it, and each node that answers says its name
// in a cookie, because a page cannot read the headers of a WebSocket handshake.
function showNodes() {
  const entry = /(?:^|; )node=([\w-]+)/.exec(document.cookie)?.[1];
  const owner = socket.sid?.split(".")[1];
  $("nodes").hidden = !entry || !owner;
  if ($("nodes").hidden) return;
  $("entry").textContent = entry;
  $("owner").textContent = owner;
}

// The server tells it twice a second, mostly what is known.
function showClients(count) {
  if ($("clients").textContent === String(count)) return;
  $("clients").textContent = count;
  pop($("clients"));
}

// Nothing a visitor typed is ever treated as markup: textContent throughout.
function showMessage({ text, from }) {
  const own = socket.sid?.startsWith(from);
  const face = element("span", "face", from.slice(0, 2));
  face.style.setProperty("--hue", [...from].reduce((h, c) => (h * 31 + c.codePointAt(0)) % 360, 7));
  face.ariaHidden = "true";
  const who = element("p", "who");
  who.append(element("span", "mono", from), own ? " (you) · " : " · ", element("time", "", clock(new Date()).slice(0, 5)));
  const item = element("li");
  item.dataset.from = from;
  item.append(face, who, element("p", "text", text));
  $("empty").hidden = true;
  $("messages").append(item);
  while ($("messages").children.length > MAX_MESSAGES) $("messages").firstChild.remove();
  showNewest();
}

function showNewest() {
  $("messages-box").scrollTop = $("messages-box").scrollHeight;
}

// ---- state on the page ------------------------------------------------------------

function setState(state) {
  body.dataset.state = state;
  $("status").textContent = { opening: "Connecting", open: "Live", reconnecting: "Reconnecting" }[state];
  $("send").disabled = state !== "open";
  // While an attempt of a series is under way the notice stays, so that it does not flicker.
  $("notice").hidden = state === "open" || attempts === 0;
  if (state === "opening") $("notice-text").textContent = "now…";
  if (state !== "open") {
    $("clients").textContent = "–";
    $("sid").textContent = $("uptime").textContent = "–";
  }
}

function setTransport(transport, upgraded = false) {
  body.dataset.transport = transport;
  body.classList.toggle("upgraded", upgraded);
  $("transport").textContent = transport === "none" && body.dataset.state === "reconnecting" ? "Offline" : NAMES[transport];
}

// The last step is the transport that the connection is to come to.
function aim(transport) {
  const last = $("rail").lastElementChild;
  last.dataset.step = transport;
  last.firstChild.textContent = NAMES[transport];
}

function resetRail() {
  aim(mode === "polling" ? "websocket" : MODES[mode].at(-1));
  for (const item of $("rail").children) {
    const planned = item.dataset.step === "handshake" || (item.dataset.step === "probe" ? mode === "upgrade" : MODES[mode].includes(item.dataset.step));
    item.dataset.status = planned ? "todo" : "skip";
    item.lastChild.textContent = planned ? "–" : "not used";
  }
  step("handshake", "doing");
}

function step(name, status) {
  const item = $("rail").querySelector(`[data-step="${name}"]`);
  item.dataset.status = status;
  if (status === "done") item.lastChild.textContent = `+${ms(performance.now() - startedAt)} ms`;
  if (status === "failed") item.lastChild.textContent = "failed";
  if (status === "skip") item.lastChild.textContent = "not used";
}

function note(kind, text) {
  const item = element("li");
  item.dataset.kind = kind;
  item.append(element("time", "", clock(new Date())), element("i"), element("span", "", text));
  $("log").prepend(item);
  while ($("log").children.length > MAX_EVENTS) $("log").lastChild.remove();
}

function mark(label) {
  marks.push({ t: performance.now(), label, series: socket.transport });
}

// ---- chart ------------------------------------------------------------------------

const canvas = $("chart");
const pen = canvas.getContext("2d");
let colors = {};
let ceiling = 0; // the top of the scale, following the data without jumps
let running = false;
let pointer = null; // where the mouse is over the chart

function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["card", "line", "soft", "ink", "polling", "websocket", "webtransport"]) {
    colors[name] = style.getPropertyValue(`--${name}`).trim();
  }
  colors.font = getComputedStyle(body).fontFamily;
}

// Draws as long as there is something in the window. The chart moves by some
// twenty pixels a second, so 30 frames a second are plenty; and the less there
// is to paint, the less painting shows up in the times being measured.
function animate() {
  if (running) return;
  running = true;
  let drawn = 0;
  const frame = (time) => {
    if (time - drawn > 30) {
      drawn = time;
      draw();
    }
    running = points.length > 0 && points.at(-1).t > performance.now() - WINDOW - 500 && !calm.matches;
    if (running) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

function niceStep(range) {
  const power = 10 ** Math.floor(Math.log10(range));
  return [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => range / s <= 1.0001);
}

function draw() {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `12px ${colors.font}`;

  // A single slow answer must not flatten everything else, so the scale follows
  // the 90th percentile; what is above it is drawn as a tick at the top.
  const sorted = points.map((p) => p.ms).sort((a, b) => a - b);
  const target = Math.max(0.5, quantile(sorted, 0.9) * 1.5 || 0);
  ceiling = ceiling && !calm.matches ? ceiling + (target - ceiling) * 0.15 : target;

  const left = 44;
  const right = 12;
  const top = 22;
  const bottom = 24;
  const now = performance.now();
  const x = (t) => width - right - ((now - t) / WINDOW) * (width - left - right);
  const y = (value) => height - bottom - (Math.min(value, ceiling) / ceiling) * (height - top - bottom);

  // Scale
  const gap = niceStep(ceiling / 4);
  pen.lineWidth = 1;
  pen.strokeStyle = colors.line;
  pen.fillStyle = colors.soft;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (let value = 0; value <= ceiling; value += gap) {
    const line = Math.round(y(value)) + 0.5;
    pen.beginPath();
    pen.moveTo(left, line);
    pen.lineTo(width - right, line);
    pen.stroke();
    pen.fillText(trim(value, gap), left - 10, line);
  }
  pen.textBaseline = "alphabetic";
  for (const seconds of [30, 20, 10, 0]) {
    pen.textAlign = seconds === 30 ? "left" : seconds === 0 ? "right" : "center";
    pen.fillText(seconds ? `${seconds} s${width > 480 ? " ago" : ""}` : "now", x(now - seconds * 1000), height - 5);
  }
  pen.textAlign = "right";
  pen.fillText("ms", left - 10, 11);

  pen.save();
  pen.beginPath();
  pen.rect(left, 0, width - left, height - bottom + 2);
  pen.clip();

  // Moments at which the transport changed
  let occupied = Infinity;
  for (const { t, label, series } of marks.slice().reverse()) {
    const at = Math.round(x(t)) + 0.5;
    pen.strokeStyle = colors[series];
    pen.globalAlpha = 0.55;
    pen.setLineDash([2, 4]);
    pen.beginPath();
    pen.moveTo(at, top - 6);
    pen.lineTo(at, height - bottom);
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    // Labels which would run into the next one, or over the edge, are left out.
    const room = pen.measureText(label).width;
    const start = Math.min(at, width - right - room);
    if (start + room + 8 > occupied) continue;
    occupied = start;
    pen.fillStyle = colors[series];
    pen.textAlign = "left";
    pen.fillText(label, start, 11);
  }

  // The line, in stretches of one transport without a pause
  for (const stretch of stretches()) {
    const color = colors[stretch[0].series];
    pen.beginPath();
    for (const p of stretch) pen.lineTo(x(p.t), y(p.ms));
    pen.strokeStyle = color;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.lineCap = "round";
    pen.stroke();
    pen.lineTo(x(stretch.at(-1).t), y(0));
    pen.lineTo(x(stretch[0].t), y(0));
    const fill = pen.createLinearGradient(0, top, 0, height - bottom);
    fill.addColorStop(0, color);
    fill.addColorStop(1, `${color}00`);
    pen.globalAlpha = 0.2;
    pen.fillStyle = fill;
    pen.fill();
    pen.globalAlpha = 1;
    pen.fillStyle = color;
    for (const p of stretch) {
      if (p.ms <= ceiling) continue;
      pen.beginPath();
      pen.moveTo(x(p.t), y(p.ms) - 6);
      pen.lineTo(x(p.t) + 4, y(p.ms));
      pen.lineTo(x(p.t) - 4, y(p.ms));
      pen.fill();
    }
  }
  pen.restore();

  const dot = (p) => {
    pen.fillStyle = colors[p.series];
    pen.strokeStyle = colors.card;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x(p.t), y(p.ms), 5, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  };
  const last = points.at(-1);
  if (last && now - last.t < 2_000) dot(last);

  // The point nearest to the mouse, with its value
  if (pointer === null || !last) return;
  const near = points.reduce((a, b) => (Math.abs(x(a.t) - pointer) < Math.abs(x(b.t) - pointer) ? a : b));
  if (Math.abs(x(near.t) - pointer) > 20) return;
  dot(near);
  const text = `${ms(near.ms)} ms`;
  const room = pen.measureText(text).width + 16;
  const from = Math.min(Math.max(x(near.t) - room / 2, left), width - right - room);
  const above = Math.max(y(near.ms) - 36, 0);
  pen.fillStyle = colors.ink;
  pen.beginPath();
  pen.roundRect(from, above, room, 24, 7);
  pen.fill();
  pen.fillStyle = colors.card;
  pen.textAlign = "center";
  pen.fillText(text, from + room / 2, above + 16.5);
}

function* stretches() {
  let stretch = [];
  for (const p of points) {
    const before = stretch.at(-1);
    if (before && (before.series !== p.series || p.t - before.t > 2_000)) {
      yield stretch;
      stretch = [];
    }
    stretch.push(p);
  }
  if (stretch.length) yield stretch;
}

// ---- small helpers ----------------------------------------------------------------

function element(name, className = "", text = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

// Three significant digits at most: the width stays within four characters.
// Browsers give finer clocks than 0.1 ms only to cross-origin isolated pages.
function ms(value) {
  if (Number.isNaN(value)) return "–";
  if (value < 10) return value.toFixed(window.crossOriginIsolated ? 2 : 1);
  return value.toFixed(value < 100 ? 1 : 0);
}

function trim(value, gap) {
  return value.toFixed([0, 1, 2].find((digits) => Math.abs(gap * 10 ** digits - Math.round(gap * 10 ** digits)) < 1e-6) ?? 3);
}

function quantile(sorted, q) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : NaN;
}

function clock(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function duration(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function pop(node) {
  if (!calm.matches) node.animate([{ transform: "translateY(-30%)", opacity: 0.3 }, {}], { duration: 260, easing: "ease-out" });
}

// ---- wiring -----------------------------------------------------------------------

$("mode").addEventListener("change", (event) => changeMode(event.target.value));
$("reconnect").addEventListener("click", restart);
$("retry").addEventListener("click", connect);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  // Cleared only if it was accepted: nobody likes to type a message twice.
  if (text && socket?.send(JSON.stringify({ type: "say", text }))) $("message").value = "";
});

setInterval(ping, PING_EVERY);
setInterval(() => {
  if (openedAt) $("uptime").textContent = duration((performance.now() - openedAt) / 1000);
  if (!retryAt) return;
  const left = retryAt - performance.now();
  $("notice-text").textContent = `in ${Math.max(0, left / 1000).toFixed(1)} s (attempt ${attempts})`;
  if (left <= 0) connect();
}, 100);
addEventListener("online", () => retryAt && connect());
// Coming back from the browser's back/forward cache, where connections do not survive.
addEventListener("pageshow", (event) => event.persisted && restart());

canvas.addEventListener("pointermove", (event) => {
  pointer = event.offsetX;
  if (!running) draw();
});
canvas.addEventListener("pointerleave", () => {
  pointer = null;
  if (!running) draw();
});

const repaint = () => {
  readColors();
  draw();
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
new ResizeObserver(draw).observe(canvas);
new ResizeObserver(showNewest).observe($("messages-box"));
repaint();

const asked = location.hash.slice(1);
if (Object.hasOwn(MODES, asked)) mode = body.dataset.mode = asked;
$("mode").querySelector(`[value="${mode}"]`).checked = true; // also after a reload that restores forms
connect();

// A small Engine.IO v4 client for browsers. No dependency, no build step.
//
//   const socket = new EngineSocket("/engine.io/");
//   socket.on("open", ({ sid }) => socket.send("hello"));
//   socket.on("message", (data) => …);          // string or ArrayBuffer
//   socket.on("close", ({ reason }) => …);
//
// It begins with HTTP long-polling, which works everywhere, and moves to
// WebTransport (with webtransport.js) or a WebSocket as soon as one is known to work. Reconnecting is
// left to the caller.
//
// Events: open {sid, upgrades} · probe {transport} · upgrading · upgrade
//         upgradeError {transport, error} · message (data) · close {reason, description}

const SEPARATOR = "\x1e"; // between the packets of one polling body
const CONNECT_TIMEOUT = 20_000; // until the handshake is answered
const UPGRADE_TIMEOUT = 10_000; // until a probe has either succeeded or failed
const FIRST_TRY = 1_000; // the same while there is another transport to try
const UPGRADES = ["webtransport", "websocket"]; // in this order
const CLOSE_TIMEOUT = 3_000; // until an orderly close is cut short

const utf8 = new TextEncoder();
const isLoopback = /^(localhost|127\..*|\[::1\])$/.test(location.hostname);

// Queued packets are kept in their WebSocket form, which is also their polling
// form except for binary: polling carries text only, so binary becomes base64.
function toPollingText(packet) {
  if (typeof packet === "string") return packet;
  let binary = "";
  for (let i = 0; i < packet.length; i += 0x8000) {
    binary += String.fromCharCode(...packet.subarray(i, i + 0x8000)); // argument lists are bounded
  }
  return "b" + btoa(binary);
}

export class EngineSocket extends EventTarget {
  state = "opening"; // → "open" → "closing" → "closed"
  transport; // "polling", "websocket" or "webtransport"
  sid = null;

  #url;
  #transports;
  #queue = []; // strings, or Uint8Array for binary messages
  #maxPayload = Infinity;
  #webtransport; // opens a session by WebTransport: (url, sid) => an object with the interface of a WebSocket
  #ws = null; // the WebSocket, or what has its interface, once it is the transport
  #polling = false; // a GET is in flight
  #posting = false; // a POST is in flight
  #paused = false; // between `3probe` and `5`: nothing new may start on polling
  #upgrade = null; // the running probe: { cancel(error), commit() }
  #byeSent = false; // the close packet has been posted
  #flushing = false; // a flush is due in this turn of the event loop
  #abort = new AbortController();
  #watchdog = 0;
  #deadline = Infinity;
  #heartbeat = 0;

  constructor(path = "/engine.io/", { transports = ["polling", "websocket"], webtransport } = {}) {
    super();
    this.#url = new URL(path, document.baseURI);
    this.#transports = transports;
    this.#webtransport = webtransport;
    this.transport = transports[0];
    this.#watch(CONNECT_TIMEOUT, "transport error");
    // A page that goes away says so, otherwise the server would keep a dead
    // session until its ping timeout. `signal` takes both listeners off again.
    const { signal } = this.#abort;
    addEventListener("pagehide", () => this.#leave(), { signal });
    addEventListener("offline", () => isLoopback || this.#finish("transport close", "network connection lost"), { signal });
    if (this.transport === "polling") this.#poll();
    else this.#adopt(this.#connect(this.transport));
  }

  /** Calls `listener(detail)` for every such event. Returns the socket, for chaining. */
  on(type, listener) {
    this.addEventListener(type, (event) => listener(event.detail));
    return this;
  }

  /**
   * Queues a string, an ArrayBuffer or a view of one. Returns false if the
   * socket is not open; throws a RangeError for a message which the server has
   * announced not to accept (posting it would cost the whole connection).
   */
  send(data) {
    if (performance.now() > this.#deadline) this.#finish("ping timeout"); // timers sleep when a laptop does
    if (this.state !== "open") return false;
    let packet;
    if (typeof data === "string") packet = "4" + data;
    else if (ArrayBuffer.isView(data)) packet = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    else packet = new Uint8Array(data).slice(); // copied: the caller may reuse its buffer
    if (this.#size(packet) > this.#maxPayload) {
      throw new RangeError(`message exceeds the server's limit of ${this.#maxPayload} bytes`);
    }
    this.#queue.push(packet);
    this.#flushSoon();
    return true;
  }

  /** Sends what is queued, then closes. */
  close() {
    if (this.state === "closed" || this.state === "closing") return;
    const wasOpen = this.state === "open";
    this.state = "closing";
    this.#watch(CLOSE_TIMEOUT, "forced close");
    if (!wasOpen) return; // no session to close yet; #opened() will call this again
    if (!this.#paused) this.#upgrade?.cancel(); // past `3probe` it is simpler to let it finish
    this.#flush();
  }

  // ---- packets ---------------------------------------------------------------

  #receive(packet) {
    if (this.state === "closed") return;
    if (packet instanceof ArrayBuffer) return this.#emit("message", packet);
    const data = packet.slice(1);
    switch (packet[0]) {
      case "0":
        return this.#opened(data);
      case "1":
        return this.#finish(this.state === "closing" ? "forced close" : "transport close", "closed by the server");
      case "2": // the server's heartbeat; the answer overtakes whatever is queued
        this.#watch(this.#heartbeat, "ping timeout");
        this.#queue.unshift("3" + data);
        return this.#flushSoon();
      case "3": // pong
      case "6": // noop: only there to release a parked GET
        return;
      case "4":
        return this.#emit("message", data);
      case "b":
        try {
          return this.#emit("message", Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
        } catch {
          return this.#finish("parse error", "invalid base64");
        }
      default:
        return this.#finish("parse error", "unknown packet type");
    }
  }

  #opened(json) {
    let hello;
    try {
      hello = JSON.parse(json);
    } catch {
      return this.#finish("parse error", "invalid handshake");
    }
    this.sid = hello.sid;
    this.#maxPayload = hello.maxPayload ?? Infinity;
    this.#heartbeat = hello.pingInterval + hello.pingTimeout;
    if (this.state === "closing") return this.#flush(); // close() was called meanwhile
    this.state = "open";
    this.#watch(this.#heartbeat, "ping timeout");
    this.#emit("open", { sid: hello.sid, upgrades: hello.upgrades });
    if (this.transport !== "polling" || this.state !== "open") return;
    const wanted = UPGRADES.filter((name) => this.#transports.includes(name) && hello.upgrades?.includes(name));
    this.#probe(wanted.filter((name) => name !== "webtransport" || this.#webtransport));
  }

  // ---- writing ---------------------------------------------------------------

  #flushSoon() {
    // All messages sent in one go share one POST.
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush() {
    if (this.state === "closed" || this.#paused) return;
    if (this.transport === "polling") return void this.#post();
    for (const packet of this.#queue.splice(0)) this.#ws.send(packet);
    if (this.state === "closing") this.#finish("forced close"); // closes after what was just written
  }

  // Posts the queue, one request at a time: the server treats two overlapping
  // POSTs of a session as an error, and their order would be undefined anyway.
  async #post() {
    if (this.#posting || this.#byeSent) return;
    this.#posting = true;
    try {
      while (this.#queue.length && !this.#paused) await this.#request("POST", this.#batch());
      if (this.state === "closing" && !this.#paused) {
        this.#byeSent = true; // only now: what was queued went first
        await this.#request("POST", "1");
      }
    } catch (error) {
      this.#finish("transport error", error);
    }
    this.#posting = false;
    this.#quiet();
  }

  // As many queued packets as fit into one body of `maxPayload` bytes.
  #batch() {
    let size = 0;
    let count = 0;
    while (count < this.#queue.length) {
      size += this.#size(this.#queue[count]) + (count && SEPARATOR.length);
      if (count && size > this.#maxPayload) break;
      count += 1;
    }
    return this.#queue.splice(0, count).map(toPollingText).join(SEPARATOR);
  }

  // Bytes which a packet takes on the present transport.
  #size(packet) {
    if (typeof packet === "string") return utf8.encode(packet).length;
    return this.transport === "polling" ? 1 + 4 * Math.ceil(packet.length / 3) : packet.length;
  }

  // ---- polling ---------------------------------------------------------------

  // Keeps exactly one GET parked at the server. The first one is the handshake.
  async #poll() {
    if (this.#polling) return;
    this.#polling = true;
    try {
      while (this.state !== "closed" && this.transport === "polling" && !this.#paused && !this.#byeSent) {
        const body = await this.#request("GET");
        for (const packet of body.split(SEPARATOR)) this.#receive(packet);
      }
    } catch (error) {
      this.#finish("transport error", error);
    }
    this.#polling = false;
    this.#quiet();
  }

  async #request(method, body) {
    const response = await fetch(this.#endpoint("polling"), {
      method,
      body, // a string goes out as text/plain;charset=UTF-8, which needs no preflight
      cache: "no-store",
      signal: this.#abort.signal,
    });
    const text = await response.text(); // read in any case, so that the connection can be reused
    if (!response.ok) throw new Error(`${method} answered with status ${response.status}`);
    return text;
  }

  // Polling came to rest: neither a GET nor a POST is in flight.
  #quiet() {
    if (this.#polling || this.#posting) return;
    if (this.#byeSent) this.#finish("forced close");
    else this.#upgrade?.commit();
  }

  // ---- websocket and webtransport --------------------------------------------

  #connect(transport) {
    if (transport === "websocket") return new WebSocket(this.#endpoint(transport));
    return this.#webtransport(this.#endpoint(transport), this.sid);
  }

  // Tries a better transport beside the running polling session, and the next
  // one if it fails:
  //   → 2probe   ← 3probe   wait until polling is at rest   → 5
  // Up to the `5` everything can be called off, and polling goes on as if
  // nothing had happened. While polling comes to rest, messages wait in the
  // queue: whatever has been posted has been acknowledged, and whatever has not
  // been posted goes out after the `5`. So nothing is lost, doubled or reordered.
  #probe([transport, ...others]) {
    if (!transport) return;
    const ws = this.#connect(transport);
    ws.binaryType = "arraybuffer";
    const stop = () => {
      clearTimeout(timer);
      this.#upgrade = null;
      this.#paused = false;
      ws.onmessage = ws.onerror = ws.onclose = null;
    };
    const cancel = (error) => {
      stop();
      // Closing a socket that is still connecting makes browsers log an error.
      if (ws.readyState === WebSocket.CONNECTING) ws.onopen = () => ws.close();
      else ws.close();
      if (this.state === "closed") return;
      this.#poll();
      this.#flush();
      if (!error) return;
      this.#emit("upgradeError", { transport, error });
      if (this.state === "open") this.#probe(others);
    };
    const commit = () => {
      if (!this.#paused) return;
      if (ws.readyState !== WebSocket.OPEN) return cancel(`${transport} closed`);
      stop();
      ws.send("5");
      this.transport = transport;
      this.#adopt(ws);
      this.#emit("upgrade");
      this.#flush();
    };
    const timer = setTimeout(() => cancel("timed out"), others.length ? FIRST_TRY : UPGRADE_TIMEOUT);
    this.#upgrade = { cancel, commit };
    ws.onopen = () => {
      ws.send("2probe");
      this.#emit("probe", { transport });
    };
    ws.onmessage = ({ data }) => {
      if (data !== "3probe" || this.#paused) return cancel("unexpected answer");
      this.#paused = true;
      this.#emit("upgrading");
      this.#quiet(); // the server releases a parked GET with a noop
    };
    ws.onerror = ws.onclose = () => cancel(`${transport} failed`);
  }

  #adopt(ws) {
    this.#ws = ws;
    ws.binaryType = "arraybuffer";
    ws.onmessage = ({ data }) => this.#receive(data);
    ws.onclose = ({ code }) => {
      if (this.state === "opening") this.#finish("transport error", `${this.transport} failed`);
      else this.#finish("transport close", `${this.transport} closed with code ${code}`);
    };
  }

  // ---- end -------------------------------------------------------------------

  // The page goes away: no time to wait for answers.
  #leave() {
    if (this.sid && this.transport === "polling" && !this.#byeSent) {
      fetch(this.#endpoint("polling"), { method: "POST", body: "1", keepalive: true }).catch(() => {});
    }
    this.#finish("forced close", "page hidden");
  }

  #finish(reason, description = "") {
    if (this.state === "closed") return;
    this.state = "closed";
    clearTimeout(this.#watchdog);
    this.#upgrade?.cancel();
    this.#queue.length = 0;
    this.#abort.abort();
    if (this.#ws) {
      this.#ws.onmessage = this.#ws.onclose = null;
      this.#ws.close();
    }
    this.#emit("close", { reason, description: String(description?.message ?? description) });
  }

  // Gives the other side `ms` from now; each ping of the server grants it anew.
  #watch(ms, reason) {
    clearTimeout(this.#watchdog);
    this.#deadline = performance.now() + ms;
    this.#watchdog = setTimeout(() => this.#finish(reason, "timed out"), ms);
  }

  #endpoint(transport) {
    const url = new URL(this.#url);
    if (transport === "webtransport") {
      url.protocol = "https:";
      return url; // no query: the session is named in the first packet
    }
    if (transport === "websocket") url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("EIO", "4");
    url.searchParams.set("transport", transport);
    if (this.sid) url.searchParams.set("sid", this.sid);
    return url;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

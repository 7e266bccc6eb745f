// A WebTransport session with the interface of a WebSocket: one stream, on which each packet has a header in front of it.
//
//   const stream = new PacketStream("https://host/engine.io/", sid, { serverCertificateHashes });
//
// With a `sid` the stream is for a session that was opened by polling, and without one it opens a session.

const BINARY = 0x80; // the bit of the first byte that marks a binary message

const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A packet behind its header: up to 125 the length is in one byte, beyond that in two or eight more. */
function framed(packet) {
  // A binary message of no bytes would be no packet, so it leaves as text: `b` with empty base64.
  const binary = typeof packet !== "string" && packet.byteLength > 0;
  const body = binary ? new Uint8Array(packet) : utf8.encode(typeof packet === "string" ? packet : "b");
  const header = body.length < 126 ? 1 : body.length < 65_536 ? 3 : 9;
  const bytes = new Uint8Array(header + body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = header === 1 ? body.length : header === 3 ? 126 : 127;
  if (header === 3) view.setUint16(1, body.length);
  if (header === 9) view.setBigUint64(1, BigInt(body.length));
  if (binary) bytes[0] |= BINARY;
  bytes.set(body, header);
  return bytes;
}

/** The packet at the beginning of these bytes, and how many it takes. Without a packet, how many are needed for one. */
function unframed(bytes) {
  const short = bytes[0] & ~BINARY;
  const header = short < 126 ? 1 : short === 126 ? 3 : 9;
  if (bytes.length < header) return { size: header };
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = header === 1 ? short : header === 3 ? view.getUint16(1) : Number(view.getBigUint64(1));
  if (length === 0) throw new Error("a packet of no bytes");
  const size = header + length;
  if (bytes.length < size) return { size };
  const body = bytes.subarray(header, size);
  return { size, packet: bytes[0] & BINARY ? body.slice().buffer : text.decode(body) };
}

export class PacketStream {
  static isSupported = "WebTransport" in globalThis;

  readyState = WebSocket.CONNECTING;
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;

  #session;
  #writer = null;

  constructor(url, sid, options = {}) {
    this.#session = new WebTransport(url, options);
    this.#session.closed.catch(() => {}); // a failure is noticed by the stream
    this.#run(sid ? `0${JSON.stringify({ sid })}` : "0");
  }

  /** Sends a string, or a Uint8Array as a binary message. */
  send(packet) {
    this.#writer.write(framed(packet)).catch(() => {});
  }

  /** Closes the session behind what was sent. */
  close() {
    if (this.readyState > WebSocket.OPEN) return;
    this.readyState = WebSocket.CLOSING;
    const sent = Promise.resolve(this.#writer?.close()).catch(() => {});
    sent.finally(() => this.#session.close());
  }

  async #run(first) {
    let code = 1006; // that of a WebSocket whose connection breaks
    try {
      await this.#session.ready;
      const stream = await this.#session.createBidirectionalStream();
      this.#writer = stream.writable.getWriter();
      if (this.readyState === WebSocket.CONNECTING) this.readyState = WebSocket.OPEN;
      this.send(first);
      this.onopen?.();
      await this.#read(stream.readable.getReader());
      // The server has ended the stream, and closes the session as soon as it knows that everything was read.
      this.#session.close();
      code = (await this.#session.closed).closeCode ?? 0;
    } catch (error) {
      this.onerror?.(error);
    }
    this.readyState = WebSocket.CLOSED;
    this.onclose?.({ code });
    this.#session.close();
  }

  async #read(reader) {
    let chunks = [];
    let [have, need] = [0, 1];
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      chunks.push(value);
      have += value.length;
      if (have < need) continue; // joined once it is all there
      let bytes = chunks.length === 1 ? value : new Uint8Array(await new Blob(chunks).arrayBuffer());
      need = 1;
      while (bytes.length) {
        const { packet, size } = unframed(bytes);
        if (packet === undefined) {
          need = size;
          break;
        }
        bytes = bytes.subarray(size);
        this.onmessage?.({ data: packet });
      }
      chunks = [bytes];
      have = bytes.length;
    }
  }
}

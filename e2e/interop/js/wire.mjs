// Engine.IO spoken by hand, over plain node:http and bare WebSockets: for what a well-behaved client
// never does, and for bytes that it hides.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { Inbox, deferred, within } from './bounded.mjs';
import { logOf } from './servers.mjs';

export const POLLING = 'EIO=4&transport=polling';
export const WEBSOCKET = 'EIO=4&transport=websocket';

/** Parts the packets of one payload. */
export const SEPARATOR = '\x1e';

/**
 * Starts a request, on a connection of its own.
 * `sent` resolves when the kernel has taken it, `answer` with `{ status, headers, body, bytes }`.
 */
export function start(url, { method = 'GET', body, headers = {} } = {}) {
  const sent = deferred();
  const answer = deferred();
  const all = body === undefined ? headers : { 'Content-Length': Buffer.byteLength(body), ...headers };
  const request = http.request(url, { method, headers: all, agent: false });
  request.on('finish', () => sent.resolve());
  request.on('error', (error) => {
    sent.reject(error);
    answer.reject(error);
  });
  request.on('response', (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('error', answer.reject);
    response.on('end', () => {
      const bytes = Buffer.concat(chunks);
      answer.resolve({
        status: response.statusCode,
        headers: response.headers,
        body: bytes.toString('utf8'),
        bytes,
      });
    });
  });
  request.end(body);
  const what = `${method} ${url}`;
  return {
    sent: within(sent.promise, `sending ${what}`),
    answer: within(answer.promise, `the answer to ${what}`),
    abort: () => request.destroy(),
  };
}

/** A request and its answer. */
export function call(url, options) {
  const { sent, answer } = start(url, options);
  sent.catch(() => {});
  return answer;
}

/** `answer.body` of a refusal as JSON, after checking that it says to be JSON. */
export function json(answer) {
  const type = answer.headers['content-type'] ?? '';
  if (!type.startsWith('application/json')) {
    throw new Error(`expected JSON, got "${type}" with status ${answer.status}: ${answer.body}`);
  }
  return JSON.parse(answer.body);
}

/** A polling session made by hand. */
export class RawSession {
  #server;

  /** `query` is that of the handshake; the open packet begins at the first brace in either revision. */
  static async open(server, query = POLLING) {
    const session = new RawSession();
    session.#server = server;
    const answer = await call(`${server}/engine.io/?${query}`);
    if (answer.status !== 200) throw new Error(`no handshake: ${answer.status} ${answer.body}`);
    session.handshake = JSON.parse(answer.body.slice(answer.body.indexOf('{')));
    session.sid = session.handshake.sid;
    session.url = `${server}/engine.io/?${query}&sid=${session.sid}`;
    session.socketUrl = socketUrl(server, `${query.replace('polling', 'websocket')}&sid=${session.sid}`);
    return session;
  }

  /**
   * Leaves a GET waiting at the server, to be followed by a request on another connection. Two
   * connections have no order between them, so this ends when the server's log has the poll.
   */
  async park() {
    const log = logOf(this.#server);
    const before = await readFile(log);
    const get = start(this.url);
    get.answer.catch(() => {});
    await get.sent;
    const line = `a poll arrived sid="${this.sid.slice(0, 6)}"`;
    for (const late = Date.now() + 5_000; Date.now() < late; await delay(1)) {
      if ((await readFile(log)).subarray(before.length).includes(line)) return get;
    }
    throw new Error(`the server did not log \`${line}\` within 5 s`);
  }

  /** A GET and its answer. */
  poll() {
    return call(this.url);
  }

  post(body, headers) {
    return call(this.url, { method: 'POST', body, headers });
  }
}

/** Asks for a WebSocket and gives the HTTP answer; 101 closes the connection again. */
export function askForWebSocket(url) {
  const answer = deferred();
  const request = http.request(url, {
    agent: false,
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': Buffer.from('sixteen bytes ok').toString('base64'),
    },
  });
  request.on('error', answer.reject);
  request.on('upgrade', (response, socket) => {
    socket.destroy();
    answer.resolve({ status: response.statusCode, headers: response.headers, body: '' });
  });
  request.on('response', (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('end', () =>
      answer.resolve({
        status: response.statusCode,
        headers: response.headers,
        body: Buffer.concat(chunks).toString('utf8'),
      }),
    );
  });
  request.end();
  return within(answer.promise, `the answer to the WebSocket handshake at ${url}`);
}

/** A WebSocket without Engine.IO: text frames are strings, binary frames are Buffers. */
export class RawSocket {
  frames = new Inbox();
  #opened = deferred();
  #closed = deferred();

  constructor(t, url, options) {
    this.socket = new WebSocket(url, options);
    t.after(() => this.socket.terminate());
    this.socket.on('open', () => this.#opened.resolve());
    // Listening begins before the connection does: the first frame may come with the 101.
    this.socket.on('message', (data, isBinary) => this.frames.push(isBinary ? data : data.toString('utf8')));
    this.socket.on('error', (error) => this.#opened.reject(error));
    this.socket.on('close', (code) => {
      this.frames.end(`the WebSocket was closed with code ${code}`);
      this.#opened.reject(new Error(`closed with code ${code}`));
      this.#closed.resolve(code);
    });
  }

  /** `options` are those of ws. */
  static async open(t, url, options) {
    const socket = new RawSocket(t, url, options);
    await within(socket.#opened.promise, `a WebSocket at ${url}`);
    return socket;
  }

  send(frame) {
    this.socket.send(frame);
  }

  next(what, ms) {
    return this.frames.next(what, ms);
  }

  /** The close code. */
  closed(ms = 5_000) {
    return within(this.#closed.promise, 'close of the WebSocket', ms);
  }
}

/** `http://…` of a server as the address of a new WebSocket session. */
export const socketUrl = (server, query = WEBSOCKET) =>
  `${server.replace(/^http/, 'ws')}/engine.io/?${query}`;

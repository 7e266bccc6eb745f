// The official JavaScript client, with its events turned into things that can be awaited.

import { Socket } from 'engine.io-client';
import { Inbox, deferred, within } from './bounded.mjs';

/** The three ways in which a client lives; the core tests run once for each. */
export const MODES = {
  'polling only': { transports: ['polling'], upgrade: false },
  'websocket only': { transports: ['websocket'] },
  upgrade: { transports: ['polling', 'websocket'] },
};

export class Peer {
  /** The client under test; a class that extends this one may put another in its place. */
  static Client = Socket;

  inbox = new Inbox();
  #opened = deferred();
  #upgraded = deferred();
  #closed = deferred();
  #failed = deferred();
  #isClosed = false;

  /** Begins to connect; `open` is the comfortable way. */
  constructor(url, options) {
    this.socket = new this.constructor.Client(url, options);
    this.socket.on('open', () => this.#opened.resolve());
    this.socket.on('upgrade', () => this.#upgraded.resolve());
    // An empty text message carries no data in this client: it hands out `undefined`.
    this.socket.on('message', (data) => this.inbox.push(data === undefined ? '' : data));
    this.socket.on('error', (error) => {
      this.#failed.resolve(error);
      this.#opened.reject(error);
    });
    this.socket.on('close', (reason, details) => {
      this.#isClosed = true;
      const why = `the connection was closed: ${reason} (${details?.message ?? details ?? 'no details'})`;
      this.#opened.reject(new Error(why));
      this.#upgraded.reject(new Error(why));
      this.inbox.end(why);
      this.#closed.resolve({ reason, details });
    });
  }

  /** Connects, and upgrades too if the options allow it; closed when the test `t` ends. */
  static async open(t, url, options) {
    const peer = new this(url, options);
    t.after(() => peer.socket.close());
    await within(peer.#opened.promise, 'open');
    if (options.transports.length > 1) await peer.upgraded();
    return peer;
  }

  get id() {
    return this.socket.id;
  }

  get transport() {
    return this.socket.transport.name;
  }

  get isClosed() {
    return this.#isClosed;
  }

  send(message) {
    this.socket.send(message);
  }

  next(what, ms) {
    return this.inbox.next(what, ms);
  }

  take(count, what, ms) {
    return this.inbox.take(count, what, ms);
  }

  /** Sends `message` and gives what comes back first. */
  ask(message, what = 'an answer', ms = 5_000) {
    this.send(message);
    return this.next(what, ms);
  }

  upgraded(ms = 5_000) {
    return within(this.#upgraded.promise, 'upgrade', ms);
  }

  closed(ms = 5_000) {
    return within(this.#closed.promise, 'close', ms);
  }

  failed(ms = 5_000) {
    return within(this.#failed.promise, 'error', ms);
  }

  /** From now on this client reads pings and never answers them. */
  withholdPongs() {
    const original = this.socket._sendPacket;
    if (typeof original !== 'function') {
      throw new Error('engine.io-client no longer has _sendPacket: find where it sends pongs now');
    }
    this.socket._sendPacket = function sendAllButPongs(type, ...rest) {
      if (type !== 'pong') original.call(this, type, ...rest);
    };
  }
}

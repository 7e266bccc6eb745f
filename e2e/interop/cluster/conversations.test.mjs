// Conversations of the official clients, in Node.js and in Chromium, through load balancers that give each request to the
// next node of a cluster. In every session each message comes back once and in order, and the session does not end.
//
// `BALANCERS` has a line with a name and a URL for each balancer, and `SECONDS` says how long the conversations last.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import Socket3 from 'engine.io-client-v3';
import { launch, open } from '../browser/support.mjs';
import { MODES, Peer } from '../js/peer.mjs';

const BALANCERS = (process.env.BALANCERS ?? '').split('\n').filter(Boolean).map((line) => line.split('\t'));
const SECONDS = Number(process.env.SECONDS);
if (!BALANCERS.length || !(SECONDS > 0)) throw new Error('run these tests with `cargo xtask cluster`');

const PACE = 100; // ms between two rounds
const SIZES = [0, 20, 1_000, 30_000];

/** The client of revision 3. It hands out bytes as an ArrayBuffer or a Buffer, by transport. */
class Peer3 extends Peer {
  static Client = function Client(url, options) {
    return new Socket3(url, { ...options, forceNode: true });
  };

  async next(what, ms) {
    const message = await super.next(what, ms);
    return message instanceof ArrayBuffer ? Buffer.from(message) : message;
  }
}

/** Some messages, text and binary in turn, one of them large now and then. */
function messages(round) {
  return SIZES.map((size, n) => {
    const length = round % 20 === 19 && n === 0 ? 200_000 : size;
    return n % 2 === 0 ? `${round} ${n}:${'é'.repeat(length / 2)}` : randomBytes(length);
  });
}

async function converse(peer) {
  const end = performance.now() + SECONDS * 1_000;
  let round = 0;
  for (; performance.now() < end; round += 1) {
    const sent = messages(round);
    for (const message of sent) peer.send(message);
    for (const message of sent) assert.deepEqual(await peer.next(`round ${round}`, 20_000), message);
    await delay(PACE);
  }
  // A second copy of anything would come before this.
  assert.equal(await peer.ask('nothing between'), 'nothing between');
  return round * SIZES.length;
}

const clients = { 'engine.io-client 6.6': Peer, 'engine.io-client 3.5': Peer3 };

async function inNode(t) {
  const all = [];
  for (const [balancer, url] of BALANCERS) {
    for (const [client, Client] of Object.entries(clients)) {
      for (const mode of ['polling only', 'upgrade']) {
        all.push(t.test(`${client} through ${balancer}, ${mode}`, async (t) => {
          const peer = await Client.open(t, url, MODES[mode]);
          const { id } = peer;
          const count = await converse(peer);
          assert.equal(peer.id, id);
          assert.equal(peer.transport, MODES[mode].transports.at(-1));
          assert.equal(await peer.ask('whoami'), id);
          t.diagnostic(`${count} messages`);
        }));
      }
    }
  }
  await Promise.all(all);
}

/** Runs in the page. */
async function converseInPage({ transports, seconds, sizes, pace }) {
  const inbox = [];
  let closed = null;
  let news = () => {};
  const socket = eio(location.origin, { transports });
  socket.binaryType = 'arraybuffer';
  socket.on('message', (data) => news(inbox.push(data)));
  socket.on('close', (reason) => news((closed = reason)));
  const next = async (what) => {
    let late = false;
    const timer = setTimeout(() => news((late = true)), 20_000);
    while (!inbox.length) {
      if (closed) throw new Error(`${what}: the session was closed: ${closed}`);
      if (late) throw new Error(`${what} did not come within 20 s, over ${socket.transport.name}`);
      await new Promise((done) => (news = done));
    }
    clearTimeout(timer);
    return inbox.shift();
  };
  const text = (data) => (data instanceof ArrayBuffer ? [...new Uint8Array(data)].join() : data);
  await new Promise((done, fail) => socket.on('open', done).on('error', fail));
  const end = performance.now() + seconds * 1_000;
  let round = 0;
  for (; performance.now() < end; round += 1) {
    const sent = sizes.map((size, n) => (n % 2 === 0 ? `${round} ${n}:${'é'.repeat(size / 2)}` : new Uint8Array(size).fill(round).buffer));
    for (const message of sent) socket.send(message);
    for (const [n, message] of sent.entries()) {
      const echo = await next(`message ${n} of round ${round}`);
      if (text(echo) !== text(message)) throw new Error(`message ${n} of round ${round} came back as something else`);
    }
    await new Promise((done) => setTimeout(done, pace));
  }
  if (closed || inbox.length) throw new Error(`at the end: ${closed}, ${inbox.length} more messages`);
  const transport = socket.transport.name;
  socket.close();
  return { transport, count: round * sizes.length };
}

async function inChromium(t) {
  // Pages in the background would be slowed down after a while.
  const args = ['--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'];
  const browser = await launch(process.env.CHROMIUM ?? '/usr/bin/chromium', { args });
  t.after(() => browser.close());
  const all = [];
  for (const [balancer, url] of BALANCERS) {
    for (const mode of ['polling only', 'upgrade']) {
      all.push(t.test(`through ${balancer}, ${mode}`, async (t) => {
        const { transports } = MODES[mode];
        const page = await open(browser, new URL(url).href);
        const options = { transports, seconds: SECONDS, sizes: SIZES, pace: PACE };
        const { transport, count } = await page.evaluate(converseInPage, options);
        assert.equal(transport, transports.at(-1));
        t.diagnostic(`${count} messages`);
      }));
    }
  }
  await Promise.all(all);
}

// At the same time, because each takes as long as the conversations.
test('conversations', { concurrency: true }, async (t) => {
  await Promise.all([
    t.test('in Node.js', { concurrency: true }, inNode),
    t.test('in Chromium', { concurrency: true }, inChromium),
  ]);
});

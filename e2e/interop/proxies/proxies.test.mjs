// The official client through proxies that are configured well and badly, each with two servers behind it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { MODES, Peer } from '../js/peer.mjs';

const PROXIES = new Map((process.env.PROXIES ?? '').split('\n').map((line) => line.split('\t')));

function url(name) {
  const found = PROXIES.get(name);
  if (!found) throw new Error(`no ${name}: run these tests with \`cargo xtask interop --only proxies\``);
  return found;
}

/** Text and binary in turn, small and large. */
const MESSAGES = Array.from({ length: 200 }, (_, n) => {
  const size = n % 50 === 49 ? 200_000 : [0, 20, 1_000, 30_000][n % 4];
  return n % 2 === 0 ? `${n}:${'é'.repeat(size / 2)}` : randomBytes(size);
});

async function echo(peer) {
  for (const message of MESSAGES) peer.send(message);
  assert.deepEqual(await peer.take(MESSAGES.length, 'every message', 40_000), MESSAGES);
  // A second copy of anything would come before this.
  assert.equal(await peer.ask('nothing between'), 'nothing between');
}

// Outside of browsers this client stores cookies only on request.
const COOKIES = { 'without cookies': false, 'with cookies': true };

const GOOD = [
  'nginx', 'nginx-by-address', 'haproxy', 'haproxy-by-cookie', 'guide-nginx', 'guide-haproxy-by-cookie',
  'guide-haproxy-by-sid', 'guide-nginx-by-node', 'guide-haproxy-by-node', 'buffering',
];

for (const proxy of GOOD) {
  describe(`through ${proxy}`, () => {
    for (const [mode, options] of Object.entries(MODES)) {
      for (const [cookies, withCredentials] of Object.entries(COOKIES)) {
        if (proxy.includes('haproxy-by-cookie') && !withCredentials) continue;
        test(`every message comes once and in order, ${mode}, ${cookies}`, async (t) => {
          const peer = await Peer.open(t, url(proxy), { ...options, withCredentials });
          await echo(peer);
          assert.equal(peer.transport, options.transports.at(-1));
        });
      }
    }
  });
}

/**
 * Sends a POST with a body of this size, and gives the status of the answer. Each has a connection of its own: a proxy
 * closes one whose body it did not read, which the next request on it would race with.
 */
async function post(target, cookie, size) {
  const headers = { cookie, connection: 'close' };
  const answer = await fetch(target, { method: 'POST', headers, body: Buffer.alloc(size, '4') });
  await answer.arrayBuffer();
  return answer.status;
}

for (const proxy of GOOD) {
  // Above the limit of the server. nginx has one of its own, 1 MiB; without one there is more in flight.
  const size = proxy.includes('haproxy') ? 12_000_000 : 1_040_000;
  test(`a refusal reaches a client that is still sending, 20 of 20, through ${proxy}`, async () => {
    const target = `${url(proxy)}/engine.io/?EIO=4&transport=polling`;
    for (let round = 0; round < 20; round += 1) {
      const open = await fetch(target);
      const cookie = open.headers.getSetCookie().map((set) => set.split(';')[0]).join('; ');
      const { sid } = JSON.parse((await open.text()).slice(1));
      assert.equal(await post(`${target}&sid=${sid}`, cookie, size), 413, `round ${round}`);
      assert.equal(await post(`${target}&sid=unknown`, cookie, size), 400, `round ${round}`);
    }
  });
}

for (const proxy of GOOD) {
  // Else the next message would go into that poll, and the session would go on without it.
  test(`a poll that its client drops ends the session, through ${proxy}`, async () => {
    const target = `${url(proxy)}/engine.io/?EIO=4&transport=polling`;
    // The proxy has to notice that the client is gone, and then the server that the proxy is: each session gives them more time.
    for (let wait = 10; ; wait *= 2) {
      const open = await fetch(target);
      const cookie = open.headers.getSetCookie().map((set) => set.split(';')[0]).join('; ');
      const { sid } = JSON.parse((await open.text()).slice(1));
      const dropped = new AbortController();
      const poll = fetch(`${target}&sid=${sid}`, { headers: { cookie }, signal: dropped.signal });
      await setTimeout(wait);
      dropped.abort();
      await assert.rejects(poll, { name: 'AbortError' });
      await setTimeout(wait);
      const { status } = await fetch(`${target}&sid=${sid}`, { method: 'POST', headers: { cookie }, body: '4lost?' });
      if (status === 400) return;
      assert.ok(wait < 1_000, `${status} after ${wait} ms`);
    }
  });
}

test('without the upgrade headers a session stays on polling', async (t) => {
  const peer = new Peer(url('no-upgrade'), MODES.upgrade);
  t.after(() => peer.socket.close());
  await echo(peer);
  assert.equal(peer.transport, 'polling');
});

test('a WebSocket that is cut is a clear end, and a new session works', async (t) => {
  const peer = await Peer.open(t, url('cut'), MODES['websocket only']);
  const { reason } = await peer.closed(15_000);
  assert.equal(reason, 'transport close');
  const again = await Peer.open(t, url('cut'), MODES['websocket only']);
  assert.equal(await again.ask('again'), 'again');
});

test('without stickiness polling fails with 400, and a WebSocket alone works', async (t) => {
  const peer = new Peer(url('round-robin'), MODES['polling only']);
  t.after(() => peer.socket.close());
  const { reason, details } = await peer.closed();
  assert.equal(reason, 'transport error');
  assert.equal(details.description, 400);
  const alone = await Peer.open(t, url('round-robin'), MODES['websocket only']);
  await echo(alone);
});

// The change from polling to WebSocket loses nothing, doubles nothing and keeps the order.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { bounded, within } from './bounded.mjs';
import { MODES, Peer } from './peer.mjs';
import { ECHO } from './servers.mjs';

const SESSIONS = 200;
const AT_ONCE = 10;
const MESSAGES = 20;

/** One session that talks from the moment it is open until it has changed transports. */
async function talkThroughAnUpgrade(name) {
  const peer = new Peer(ECHO, MODES.upgrade);
  const received = [];
  let sent = 0;
  const sendUpTo = (count) => {
    while (sent < Math.min(count, MESSAGES)) peer.send(`${name} ${sent++}`);
  };
  // Some at once, some whenever an echo comes back (so that there is always something on its way in
  // both directions), some when the probe is answered, and the rest the moment the change is made.
  peer.socket.on('open', () => sendUpTo(4));
  peer.socket.on('upgrading', () => sendUpTo(sent + 3));
  peer.socket.on('upgrade', () => sendUpTo(MESSAGES));
  try {
    for (let n = 0; n < MESSAGES; n++) {
      received.push(await peer.next(`message ${n} of ${name}`, 10_000));
      sendUpTo(Math.min(sent + 1, MESSAGES - 6));
    }
    await peer.upgraded();
    assert.deepEqual(received, Array.from({ length: MESSAGES }, (_, n) => `${name} ${n}`));
    assert.equal(peer.transport, 'websocket');
    // A doubled message would come before the answer to a later one.
    assert.equal(await peer.ask('the last'), 'the last');
  } finally {
    peer.socket.close();
  }
}

test(`${SESSIONS} sessions send through their upgrade: each message once and in order`, async () => {
  await bounded(SESSIONS, AT_ONCE, (n) => talkThroughAnUpgrade(`session ${n}, message`));
});

test('what the server sends by itself during an upgrade arrives once and in order', async (t) => {
  const prefix = `bcast:${randomUUID()}:`;
  const talker = await Peer.open(t, ECHO, MODES['websocket only']);
  let stop = false;
  // Each broadcast waits for the one before, so that the stream is as dense as the server can make it
  // and still bounded.
  const stream = (async () => {
    for (let n = 0; !stop; n++) {
      assert.equal(await talker.ask(`${prefix}${n}`, `broadcast ${n}`), `${prefix}${n}`);
    }
  })();
  stream.catch(() => {});

  const listen = async () => {
    const peer = new Peer(ECHO, MODES.upgrade);
    try {
      await peer.upgraded();
      assert.equal(peer.transport, 'websocket');
      peer.send('enough');
      const heard = [];
      for (;;) {
        const message = await peer.next('the end of the stream');
        if (message === 'enough') break;
        assert.ok(message.startsWith(prefix), message);
        heard.push(Number(message.slice(prefix.length)));
      }
      assert.ok(heard.length > 0, 'an upgrade takes longer than one broadcast');
      assert.deepEqual(heard, heard.map((_, index) => heard[0] + index));
    } finally {
      peer.socket.close();
    }
  };
  try {
    await bounded(50, AT_ONCE, listen);
  } finally {
    stop = true;
  }
  await within(stream, 'the last broadcast');
});

test('the id stays the same across the upgrade', async (t) => {
  const peer = new Peer(ECHO, MODES.upgrade);
  t.after(() => peer.socket.close());
  const before = await peer.ask('whoami');
  await peer.upgraded();
  assert.equal(await peer.ask('whoami'), before);
  assert.equal(peer.id, before);
});

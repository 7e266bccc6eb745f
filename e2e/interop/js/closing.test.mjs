// A session ends once, on both sides, whoever ends it.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deferred, within } from './bounded.mjs';
import { MODES, Peer } from './peer.mjs';
import { ECHO, SMALL } from './servers.mjs';
import { POLLING, call, json } from './wire.mjs';

const look = (sid) => call(`${ECHO}/engine.io/?${POLLING}&sid=${sid}`);

/**
 * Closes the client and resolves when the server has been told: its answer to the last POST, or the
 * end of its side of the WebSocket. The client's own `close` event comes before either.
 */
async function closeAndTell(peer) {
  const told = deferred();
  const { transport } = peer.socket;
  if (transport.name === 'polling') {
    const write = transport.doWrite;
    assert.equal(typeof write, 'function', 'engine.io-client writes its POSTs elsewhere now');
    transport.doWrite = (data, done) =>
      write.call(transport, data, () => {
        done();
        told.resolve();
      });
  } else {
    assert.ok(transport.ws, 'engine.io-client keeps its WebSocket elsewhere now');
    transport.ws.addEventListener('close', () => told.resolve());
  }
  peer.socket.close();
  await within(told.promise, 'the server taking the close');
}

/** Resolves when the server answers "unknown" for the sid; until then it may still say "not by polling". */
async function forgotten(sid) {
  for (const end = Date.now() + 5_000; Date.now() < end; ) {
    const answer = await look(sid);
    assert.equal(answer.status, 400);
    const { code, message } = json(answer);
    if (code === 1) return assert.equal(message, 'Session ID unknown');
    assert.equal(code, 3, 'a session on a WebSocket refuses polling with code 3');
  }
  assert.fail('the server still knows the session 5 s after its WebSocket was closed');
}

for (const [mode, options] of Object.entries(MODES)) {
  describe(`closing, ${mode}`, () => {
    test('the server disconnects the client', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      const sid = peer.id;
      peer.send('close-me');
      const { reason } = await peer.closed();
      assert.equal(reason, 'transport close');
      await forgotten(sid);
    });

    test('what was sent before the server disconnects still arrives', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      for (const message of ['one', 'two', 'three', 'close-me']) peer.send(message);
      assert.deepEqual(await peer.take(3), ['one', 'two', 'three']);
      assert.equal((await peer.closed()).reason, 'transport close');
    });

    test('the client leaves: the server forgets it and nobody else notices', async (t) => {
      const observer = await Peer.open(t, ECHO, options);
      const peer = await Peer.open(t, ECHO, options);
      const sid = peer.id;
      assert.equal(await peer.ask('here'), 'here');
      await closeAndTell(peer);
      assert.equal((await peer.closed()).reason, 'forced close');
      if (mode === 'polling only') {
        // The POST that carried the close packet is answered: it must be over by now.
        assert.deepEqual(json(await look(sid)), { code: 1, message: 'Session ID unknown' });
      } else {
        await forgotten(sid);
      }
      assert.equal(await observer.ask('whoami'), observer.id);
      assert.equal(observer.isClosed, false);
    });
  });
}

test('a message over the limit ends a polling session', async (t) => {
  const peer = await Peer.open(t, SMALL, MODES['polling only']);
  peer.send('x'.repeat(1_001));
  const { reason, details } = await peer.closed();
  // The 413 of the POST and the close packet of the waiting GET travel on two connections, and the
  // client reports whichever comes first. A GET that comes after the end is refused with 400. The status of the POST itself is
  // checked in wire.test.mjs.
  if (reason === 'transport error') assert.ok([413, 400].includes(details.description), `${details.description}`);
  else assert.equal(reason, 'transport close');
});

test('a message over the limit ends a WebSocket session', async (t) => {
  const peer = await Peer.open(t, SMALL, MODES['websocket only']);
  peer.send('x'.repeat(5_000));
  const { reason } = await peer.closed();
  assert.match(reason, /^transport (close|error)$/);
});

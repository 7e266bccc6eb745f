// Compressed WebSocket messages (permessage-deflate): ws as the other side, alone and within the official client.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { MODES, Peer } from './peer.mjs';
import { DEFLATE, ECHO } from './servers.mjs';
import { RawSocket, socketUrl } from './wire.mjs';

const AGREED = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

const large = JSON.stringify(Array.from({ length: 20_000 }, (_, id) => ({ id, name: `Grüße ${id % 7}` })));

const MESSAGES = [
  '4',
  '4hello',
  `4${'x'.repeat(1022)}`,
  `4${'x'.repeat(1023)}`,
  `4${large}`,
  Buffer.alloc(0),
  Buffer.alloc(1023, 'ab'),
  Buffer.alloc(1024, 'ab'),
  Buffer.alloc(999_000, 'abc'),
  // Incompressible messages arrive uncompressed.
  randomBytes(1024),
  randomBytes(999_000),
];

/** Opens a WebSocket session. `offer` is the option perMessageDeflate of ws. */
async function connect(t, server, offer) {
  const socket = await RawSocket.open(t, socketUrl(server), { perMessageDeflate: offer });
  assert.match(await socket.next('the open packet'), /^0\{/);
  return socket;
}

/** The bytes that have come over the connection below. */
const received = ({ socket }) => socket._socket.bytesRead;

/** The extension header of the server's answer. */
function answered(socket) {
  return new Promise((done) => socket.once('upgrade', (response) => done(response.headers['sec-websocket-extensions'])));
}

for (const [name, offer] of Object.entries({
  'as ws offers it by itself': true,
  'every message, whatever its size': { threshold: 0 },
  'with the best compression': { threshold: 0, zlibDeflateOptions: { level: 9, memLevel: 9 } },
  'with none, which makes messages larger': { threshold: 0, zlibDeflateOptions: { level: 0 } },
  'with a small window of the client': { threshold: 0, clientMaxWindowBits: 9 },
  'with both sides without a memory': { serverNoContextTakeover: true, clientNoContextTakeover: true },
})) {
  test(`messages are compressed both ways, ${name}`, async (t) => {
    const socket = await connect(t, DEFLATE, offer);
    assert.equal(socket.socket.extensions, 'permessage-deflate');
    for (let round = 0; round < 2; round++) {
      for (const message of MESSAGES) {
        const before = received(socket);
        socket.send(message);
        const echo = await socket.next(`the echo of ${message.length}`, 20_000);
        // Not shown in full: it may be a megabyte.
        assert.ok(Buffer.compare(Buffer.from(echo), Buffer.from(message)) === 0, `${message.length} changed`);
        assert.equal(typeof echo, typeof message);
        const [came, size] = [received(socket) - before, Buffer.byteLength(message)];
        const compressible = size >= 1024 && new Set(Buffer.from(message).subarray(0, 1000)).size < 100;
        assert.ok(compressible ? came < size / 2 : came >= size, `${came} bytes came for ${size}`);
      }
    }
  });
}

test('the answer is exact', async (t) => {
  for (const [offer, expected] of [
    [true, AGREED],
    [{ serverMaxWindowBits: 15 }, `${AGREED}; server_max_window_bits=15`],
    // It cannot be kept, and nothing is compressed then.
    [{ serverMaxWindowBits: 10 }, undefined],
    [false, undefined],
  ]) {
    const socket = new RawSocket(t, socketUrl(DEFLATE), { perMessageDeflate: offer });
    assert.equal(await answered(socket.socket), expected);
    await socket.next('the open packet');
    socket.send(`4${large}`);
    assert.equal((await socket.next('the echo')).length, large.length + 1);
  }
});

test('a server that was not told to compress agrees to nothing', async (t) => {
  const socket = await connect(t, ECHO, true);
  assert.equal(socket.socket.extensions, '');
  socket.send(`4${large}`);
  assert.equal(await socket.next('the echo'), `4${large}`);
});

test('ten megabytes in ten kilobytes are too large', async (t) => {
  const socket = await connect(t, DEFLATE, true);
  socket.send(Buffer.alloc(10_000_000));
  assert.equal(await socket.closed(), 1009);
});

for (const mode of ['websocket only', 'upgrade']) {
  test(`the official client, ${mode}`, async (t) => {
    const peer = await Peer.open(t, DEFLATE, { ...MODES[mode], perMessageDeflate: { threshold: 1024 } });
    assert.equal(peer.socket.transport.ws.extensions, 'permessage-deflate');
    for (const message of [large, Buffer.alloc(200_000, 'abc'), 'short', randomBytes(5_000)]) {
      const echo = await peer.ask(message, 'the echo');
      assert.ok(Buffer.compare(Buffer.from(echo), Buffer.from(message)) === 0, `${message.length} changed`);
    }
  });
}

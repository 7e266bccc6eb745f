// Messages arrive unchanged and in order, on every transport.

import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { MODES, Peer } from './peer.mjs';
import { ECHO, SMALL } from './servers.mjs';

// Three characters of each of the seventeen planes, noncharacters' neighbours among them.
const planes = Array.from({ length: 17 }, (_, plane) => [
  `plane ${plane}`,
  String.fromCodePoint(...[0x0100, 0x4e00, 0xfffd].map((offset) => plane * 0x10000 + offset)),
]);

const TEXTS = new Map([
  ...planes,
  ['ASCII', 'hello'],
  ['a digit first, like a packet type', '4'],
  ['a letter b first, like base64 on polling', 'bAQIDBA=='],
  ['combining marks, not normalised', 'e\u0301 \u00e9 a\u0328\u0301'],
  ['a joined emoji', '👩‍👩‍👧‍👦'],
  ['line and paragraph separators', 'one\u2028two\u2029three'],
  ['NUL and other controls', 'a\0b\x01\x1f\x7f'],
  ['line ends, kept as they are', '\r\n\n\r'],
  ['right to left', 'שלום עליכם مرحبا \u202eabc\u202c'],
  ['a byte order mark', '\ufeffmark'],
  ['JSON, not parsed', '{"a":[1,2,"é"]}'],
  ['form encoding, not decoded', 'a%20b+c&d=4'],
]);

const SIZES = [0, 1, 2, 3, 125, 126, 127, 4095, 65535, 65536, 999_000];

for (const [mode, options] of Object.entries(MODES)) {
  describe(`messages, ${mode}`, () => {
    test('text of every plane comes back unchanged', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      for (const [name, text] of TEXTS) {
        assert.equal(await peer.ask(text, `the echo of ${name}`), text, name);
      }
    });

    test('the empty message is a message', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      assert.equal(await peer.ask(''), '');
      assert.equal(await peer.ask('after it'), 'after it');
    });

    test('binary comes back byte for byte, and stays binary', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      for (const size of SIZES) {
        const sent = randomBytes(size);
        const received = await peer.ask(sent, `the echo of ${size} bytes`, 20_000);
        assert.ok(Buffer.isBuffer(received), `${size} bytes came back as ${typeof received}`);
        assert.equal(received.length, size);
        assert.ok(received.equals(sent), `${size} bytes came back changed`);
      }
    });

    test('text and binary keep their order among each other', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      const sent = ['one', Buffer.of(1, 2, 3), '', Buffer.of(), 'five', Buffer.of(6)];
      for (const message of sent) peer.send(message);
      assert.deepEqual(await peer.take(sent.length), sent);
    });

    test('1,000 messages in order, each way', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      const sent = Array.from({ length: 1_000 }, (_, n) => `message ${n}`);
      for (const message of sent) peer.send(message);
      assert.deepEqual(await peer.take(sent.length), sent);
    });

    test('whoami answers the id that the client knows', async (t) => {
      const peer = await Peer.open(t, ECHO, options);
      assert.equal(await peer.ask('whoami'), peer.id);
    });

    test('a broadcast reaches every client once, the sender among them', async (t) => {
      const [sender, other] = await Promise.all([Peer.open(t, ECHO, options), Peer.open(t, ECHO, options)]);
      const message = `bcast:${randomUUID()}`;
      sender.send(message);
      assert.equal(await sender.next('the broadcast at the sender'), message);
      assert.equal(await other.next('the broadcast at the other client'), message);
      // A second copy, or an echo besides, would come before the answer to a later message.
      assert.equal(await sender.ask('nothing between'), 'nothing between');
      assert.equal(await other.ask('nothing between'), 'nothing between');
    });

    test('a client that honours maxPayload gets everything through a small limit', async (t) => {
      const peer = await Peer.open(t, SMALL, options);
      const sent = Array.from({ length: 200 }, (_, n) => `${n}:`.padEnd(60, 'x'));
      for (const message of sent) peer.send(message);
      assert.deepEqual(await peer.take(sent.length), sent);
    });
  });
}

test('the record separator is an ordinary character on a WebSocket', async (t) => {
  // On polling the protocol itself tears such a message apart; nothing can be promised there.
  const peer = await Peer.open(t, ECHO, MODES['websocket only']);
  assert.equal(await peer.ask('a\x1eb'), 'a\x1eb');
});

test('a broadcast reaches clients on different transports', async (t) => {
  const peers = [];
  for (const options of Object.values(MODES)) peers.push(await Peer.open(t, ECHO, options));
  const message = `bcast:${randomUUID()}`;
  peers[0].send(message);
  for (const peer of peers) assert.equal(await peer.next(`the broadcast on ${peer.transport}`), message);
});

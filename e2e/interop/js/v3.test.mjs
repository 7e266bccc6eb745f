// Clients of revision 3 and of revision 4 on one running server: the official client of either generation.

import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import Socket3 from 'engine.io-client-v3';
import { bounded, letTimePass } from './bounded.mjs';
import { MODES, Peer } from './peer.mjs';
import { EIO3, EIO3_QUICK } from './servers.mjs';

/** The client of revision 3. It hands out bytes as an ArrayBuffer or a Buffer, by transport. */
class Peer3 extends Peer {
  // The environment of newer versions of Node looks like a browser's to it.
  static Client = function Client(url, options) {
    return new Socket3(url, { ...options, forceNode: true });
  };

  async next(what, ms) {
    const message = await super.next(what, ms);
    return message instanceof ArrayBuffer ? Buffer.from(message) : message;
  }

  /** From now on this client sends no pings, and does not give up by itself: that is the server's part. */
  withholdPings() {
    const { socket } = this;
    assert.equal(typeof socket.setPing, 'function', 'engine.io-client 3 plans its pings elsewhere now');
    clearTimeout(socket.pingIntervalTimer);
    socket.setPing = () => {};
    clearTimeout(socket.pingTimeoutTimer);
    socket.removeAllListeners('heartbeat');
  }
}

const planes = Array.from({ length: 17 }, (_, plane) =>
  String.fromCodePoint(...[0x0100, 0x4e00, 0xfffd].map((offset) => plane * 0x10000 + offset)),
);

for (const [mode, options] of Object.entries(MODES)) {
  describe(`engine.io-client 3, ${mode}`, () => {
    test('text of every plane comes back unchanged', async (t) => {
      const peer = await Peer3.open(t, EIO3, options);
      for (const text of [...planes, '', 'hello', '4', 'b4AQIDBA==', '1:2', 'a\u2028b', '\0\x7f']) {
        assert.equal(await peer.ask(text, `the echo of ${JSON.stringify(text)}`), text);
      }
    });

    for (const forceBase64 of [false, true]) {
      const how = forceBase64 ? 'binary as base64' : 'binary';
      test(`${how} comes back byte for byte, between texts`, async (t) => {
        const peer = await Peer3.open(t, EIO3, { ...options, forceBase64 });
        for (const size of [0, 1, 2, 3, 125, 126, 4_096, 70_000]) {
          const sent = randomBytes(size);
          peer.send('before');
          peer.send(sent);
          peer.send('after');
          assert.equal(await peer.next('the text before'), 'before');
          const received = await peer.next(`the echo of ${size} bytes`);
          assert.ok(Buffer.isBuffer(received), `${size} bytes came back as ${typeof received}`);
          assert.ok(received.equals(sent), `${size} bytes came back changed`);
          assert.equal(await peer.next('the text after'), 'after');
        }
      });
    }

    test('a client that pings lives for two seconds and more', async (t) => {
      const peer = await Peer3.open(t, EIO3, options);
      let pongs = 0;
      peer.socket.on('pong', () => {
        pongs += 1;
      });
      await letTimePass(2_000);
      assert.equal(peer.isClosed, false);
      assert.ok(pongs >= 3 && pongs <= 7, `${pongs} pongs in 2 s to a ping in 300 ms`);
      assert.equal(await peer.ask('still here'), 'still here');
    });

    test('a client that does not ping is disconnected by the server', async (t) => {
      const peer = await Peer3.open(t, EIO3_QUICK, options);
      peer.withholdPings();
      const { reason } = await peer.closed(3_000);
      assert.match(reason, /^transport (close|error)$/);
    });

    test('the server disconnects the client, after what it sent before', async (t) => {
      const peer = await Peer3.open(t, EIO3, options);
      for (const message of ['one', 'two', 'close-me']) peer.send(message);
      assert.deepEqual(await peer.take(2), ['one', 'two']);
      assert.equal((await peer.closed()).reason, 'transport close');
    });

    test('a client that is refused learns the status', async () => {
      const peer = new Peer3(EIO3, { ...options, query: { reject: '1' } });
      const error = await peer.failed();
      if (options.transports[0] === 'polling') assert.equal(error.description, 401);
      else assert.match(String(error.description.message), /401/);
    });

    test('both generations hear each other', async (t) => {
      const [old, young] = await Promise.all([Peer3.open(t, EIO3, options), Peer.open(t, EIO3, options)]);
      for (const sender of [old, young]) {
        const message = `bcast:${randomUUID()} 😀`;
        sender.send(message);
        assert.equal(await old.next('the broadcast in revision 3'), message);
        assert.equal(await young.next('the broadcast in revision 4'), message);
      }
      assert.equal(await old.ask('whoami'), old.id);
      assert.equal(await young.ask('whoami'), young.id);
    });
  });
}

/** One session that talks from the moment it is open until it has changed transports. */
async function talkThroughAnUpgrade(Kind, name) {
  const peer = new Kind(EIO3, MODES.upgrade);
  const messages = Array.from({ length: 12 }, (_, n) => `${name} ${n}`);
  peer.socket.on('open', () => messages.slice(0, 4).forEach((message) => peer.send(message)));
  peer.socket.on('upgrading', () => messages.slice(4, 8).forEach((message) => peer.send(message)));
  peer.socket.on('upgrade', () => messages.slice(8).forEach((message) => peer.send(message)));
  try {
    assert.deepEqual(await peer.take(messages.length), messages);
    assert.equal(peer.transport, 'websocket');
    // A doubled message would come before the answer to a later one.
    assert.equal(await peer.ask('the last'), 'the last');
  } finally {
    peer.socket.close();
  }
}

test('200 upgrades of both generations in turn: each message once and in order', async () => {
  await bounded(200, 10, (n) => talkThroughAnUpgrade(n % 2 ? Peer : Peer3, `session ${n}, message`));
});

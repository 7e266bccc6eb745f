// The cases of the official protocol suite of revision 3, under their official titles and written anew. The server is that
// of protocol.test.mjs: it serves clients of both revisions.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { letTimePass } from './bounded.mjs';
import { EIO3_QUICK as EIO3 } from './servers.mjs';
import { POLLING, RawSession, RawSocket, WEBSOCKET, call, json, socketUrl } from './wire.mjs';

const OLD_POLLING = 'EIO=3&transport=polling';
const OLD_WEBSOCKET = 'EIO=3&transport=websocket';

const at = (query) => `${EIO3}/engine.io/?${query}`;

/** The time after which a request finds the session closed, on the millisecond. */
const PING_TIMEOUT_MS = 300 + 200;

const openOld = (more = '') => RawSession.open(EIO3, `${OLD_POLLING}${more}`);

async function openOldSocket(t) {
  const socket = await RawSocket.open(t, socketUrl(EIO3, OLD_WEBSOCKET));
  await socket.next('the open packet');
  return socket;
}

async function isGone(session) {
  assert.equal((await session.poll()).status, 400);
}

async function posts(session, body) {
  const answer = await session.post(body);
  assert.equal(answer.status, 200);
  assert.equal(answer.body, 'ok');
}

async function polls(session, body) {
  const answer = await session.poll();
  assert.equal(answer.status, 200);
  assert.equal(answer.body, body);
}

async function closesWithoutASession(t, url) {
  const socket = new RawSocket(t, url);
  await socket.closed();
  await assert.rejects(socket.next(), /was closed/);
}

async function echoes(socket, message = '4hello') {
  socket.send(message);
  assert.equal(await socket.next('the echo'), message);
}

function isOpenPacket(packet, upgrades) {
  assert.equal(packet[0], '0');
  const open = JSON.parse(packet.slice(1));
  assert.equal(typeof open.sid, 'string');
  assert.deepEqual(open.upgrades, upgrades);
  assert.equal(open.pingInterval, 300);
  assert.equal(open.pingTimeout, 200);
}

async function upgraded(t) {
  const session = await openOld();
  const socket = await RawSocket.open(t, session.socketUrl);
  socket.send('2probe');
  assert.equal(await socket.next('the answer to the probe'), '3probe');
  await polls(session, '1:6');
  socket.send('5');
  return { session, socket };
}

describe('revision 3: handshake', () => {
  describe('HTTP long-polling', () => {
    test('successfully opens a session', async () => {
      const answer = await call(at(OLD_POLLING));
      assert.equal(answer.status, 200);
      const [, length, packet] = /^(\d+):(.*)$/.exec(answer.body);
      assert.equal(packet.length, Number(length));
      isOpenPacket(packet, ['websocket']);
    });

    test("fails with an invalid 'transport' query parameter", async () => {
      for (const query of ['EIO=3', 'EIO=3&transport=abc']) {
        assert.equal((await call(at(query))).status, 400, query);
      }
    });

    test('fails with an invalid request method', async () => {
      assert.equal((await call(at(OLD_POLLING), { method: 'POST' })).status, 400);
    });
  });

  describe('WebSocket', () => {
    test('successfully opens a session', async (t) => {
      const socket = await RawSocket.open(t, socketUrl(EIO3, OLD_WEBSOCKET));
      isOpenPacket(await socket.next('the open packet'), []);
    });

    test("fails with an invalid 'EIO' query parameter", async (t) => {
      await closesWithoutASession(t, socketUrl(EIO3, 'EIO=abc&transport=websocket'));
    });

    test("fails with an invalid 'transport' query parameter", async (t) => {
      await closesWithoutASession(t, socketUrl(EIO3, 'EIO=3'));
      await closesWithoutASession(t, socketUrl(EIO3, 'EIO=3&transport=abc'));
    });
  });
});

describe('revision 3: message', () => {
  describe('HTTP long-polling', () => {
    test('sends and receives a payload containing one plain text packet', async () => {
      const session = await openOld();
      await posts(session, '6:4hello');
      await polls(session, '6:4hello');
    });

    test('sends and receives a payload containing several plain text packets', async () => {
      const session = await openOld();
      await posts(session, '6:4test16:4test26:4test3');
      await polls(session, '6:4test16:4test26:4test3');
    });

    test('sends and receives a payload containing plain text and binary packets (base64 encoded)', async () => {
      const session = await openOld('&b64=1');
      await posts(session, '6:4hello10:b4AQIDBA==');
      await polls(session, '6:4hello10:b4AQIDBA==');
    });

    test('sends and receives a payload containing plain text and binary packets (binary)', async () => {
      const session = await openOld();
      await posts(session, '6:4hello10:b4AQIDBA==');
      const answer = await session.poll();
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['content-type'], 'application/octet-stream');
      const expected = Buffer.from('0006ff3468656c6c6f0105ff0401020304', 'hex');
      assert.deepEqual(answer.bytes, expected);
      // Binary input may be echoed as binary.
      const post = await session.post(expected, { 'Content-Type': 'application/octet-stream' });
      assert.equal(post.status, 200);
      assert.deepEqual((await session.poll()).bytes, expected);
    });

    test('closes the session upon invalid packet format', async () => {
      const session = await openOld();
      assert.equal((await session.post('abc')).status, 400);
      await isGone(session);
    });

    // The official suite skips this one.
    test('closes the session upon duplicate poll requests', async () => {
      const session = await openOld();
      const parked = await session.park();
      assert.equal((await session.poll()).status, 400);
      assert.equal((await parked.answer).body, '1:1');
      await isGone(session);
    });

    test('closes the session upon cancelled polling request', async () => {
      const session = await openOld();
      const parked = await session.park();
      parked.abort();
      await assert.rejects(parked.answer);
      await isGone(session);
      await isGone(session);
    });
  });

  describe('WebSocket', () => {
    test('sends and receives a plain text packet', async (t) => {
      await echoes(await openOldSocket(t));
    });

    test('sends and receives a binary packet', async (t) => {
      const socket = await openOldSocket(t);
      socket.send(Buffer.of(4, 1, 2, 3, 4));
      assert.deepEqual(await socket.next('the echo'), Buffer.of(4, 1, 2, 3, 4));
    });

    test('closes the session upon invalid packet format', async (t) => {
      const socket = await openOldSocket(t);
      socket.send('abc');
      await socket.closed();
    });
  });
});

describe('revision 3: heartbeat', () => {
  describe('HTTP long-polling', () => {
    test('sends ping/pong packets', async () => {
      const session = await openOld();
      for (let round = 0; round < 3; round++) {
        await posts(session, '1:2');
        await polls(session, '1:3');
      }
    });

    test('closes the session upon ping timeout', async () => {
      const session = await openOld();
      await letTimePass(PING_TIMEOUT_MS);
      assert.equal((await session.post('1:2')).status, 400);
    });
  });

  describe('WebSocket', () => {
    test('sends ping/pong packets', async (t) => {
      const socket = await openOldSocket(t);
      for (let round = 0; round < 3; round++) {
        socket.send('2');
        assert.equal(await socket.next('a pong'), '3');
      }
    });

    test('closes the session upon ping timeout', async (t) => {
      const socket = await openOldSocket(t);
      await socket.closed(2_000);
    });
  });
});

describe('revision 3: close', () => {
  test('forcefully closes the session (HTTP long-polling)', async () => {
    const session = await openOld();
    // At once, on two connections: either may arrive first.
    const [get, post] = await Promise.all([session.poll(), session.post('1:1')]);
    assert.equal(post.status, 200);
    assert.equal(get.status, 200);
    assert.equal(get.body, '1:6');
    await isGone(session);
  });

  test('forcefully closes the session (WebSocket)', async (t) => {
    const socket = await openOldSocket(t);
    socket.send('1');
    await socket.closed();
  });
});

describe('revision 3: upgrade', () => {
  test('successfully upgrades from HTTP long-polling to WebSocket', async (t) => {
    const { socket } = await upgraded(t);
    await echoes(socket);
  });

  test('ignores HTTP requests with same sid after upgrade', async (t) => {
    const { session, socket } = await upgraded(t);
    await echoes(socket);
    assert.equal((await session.poll()).status, 400);
    await echoes(socket);
  });

  test('ignores WebSocket connection with same sid after upgrade', async (t) => {
    const { session, socket } = await upgraded(t);
    await echoes(socket);
    // Accepted before it is closed: to a client, a refused handshake is an error.
    const second = await RawSocket.open(t, session.socketUrl);
    await second.closed();
    await echoes(socket);
  });
});

describe('two revisions on one server', () => {
  test('a session is reached in the revision in which it was opened', async (t) => {
    const old = await openOld();
    const young = await RawSession.open(EIO3);
    for (const query of [`${POLLING}&sid=${old.sid}`, `${OLD_POLLING}&sid=${young.sid}`]) {
      const answer = await call(at(query));
      assert.equal(answer.status, 400, query);
      assert.equal(json(answer).code, 3, query);
    }
    await closesWithoutASession(t, socketUrl(EIO3, `${WEBSOCKET}&sid=${old.sid}`));
    await posts(old, '6:4hello');
    await polls(old, '6:4hello');
    await posts(young, '4hello');
    await polls(young, '4hello');
  });

  test('a missing or unknown revision is neither', async () => {
    for (const query of ['transport=polling', 'EIO=2&transport=polling', 'EIO=abc&transport=polling']) {
      const answer = await call(at(query));
      assert.equal(answer.status, 400, query);
      assert.equal(json(answer).code, 5, query);
    }
  });
});

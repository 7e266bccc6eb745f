// The twenty-five cases of the official protocol suite (revision 4), under their official titles and
// written anew, so that they run without a browser and wait for events instead of for time.
// Like there, the server pings every 300 ms and waits 200 ms. It serves clients of revision 3 too.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { letTimePass } from './bounded.mjs';
import { EIO3_QUICK as QUICK } from './servers.mjs';
import { POLLING, RawSession, RawSocket, SEPARATOR, call, socketUrl } from './wire.mjs';

const at = (query) => `${QUICK}/engine.io/?${query}`;

/** The time after which a request finds the session closed, on the millisecond. */
const PING_TIMEOUT_MS = 300 + 200;

async function openSocket(t) {
  const socket = await RawSocket.open(t, socketUrl(QUICK));
  await socket.next('the open packet');
  return socket;
}

/** A refused or immediately closed WebSocket: both end in a close event, and neither opens a session. */
async function closesWithoutASession(t, url) {
  const socket = new RawSocket(t, url);
  await socket.closed();
  await assert.rejects(socket.next(), /was closed/);
}

async function isGone(session) {
  assert.equal((await session.poll()).status, 400);
}

/** A session on its way from polling to WebSocket, up to and including the upgrade packet. */
async function upgraded(t) {
  const session = await RawSession.open(QUICK);
  const socket = await RawSocket.open(t, session.socketUrl);
  socket.send('2probe');
  assert.equal(await socket.next('the answer to the probe'), '3probe');
  const poll = await session.poll();
  assert.equal(poll.status, 200);
  assert.equal(poll.body, '6');
  socket.send('5');
  return { session, socket };
}

async function echoes(socket, message = '4hello') {
  socket.send(message);
  assert.equal(await socket.next('the echo'), message);
}

describe('handshake', () => {
  describe('HTTP long-polling', () => {
    test('successfully opens a session', async () => {
      const answer = await call(at(POLLING));
      assert.equal(answer.status, 200);
      assert.equal(answer.body[0], '0');
      const open = JSON.parse(answer.body.slice(1));
      assert.deepEqual(Object.keys(open).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
      assert.equal(typeof open.sid, 'string');
      assert.deepEqual(open.upgrades, ['websocket']);
      assert.equal(open.pingInterval, 300);
      assert.equal(open.pingTimeout, 200);
      assert.equal(open.maxPayload, 1_000_000);
    });

    test("fails with an invalid 'EIO' query parameter", async () => {
      for (const query of ['transport=polling', 'EIO=abc&transport=polling']) {
        assert.equal((await call(at(query))).status, 400, query);
      }
    });

    test("fails with an invalid 'transport' query parameter", async () => {
      for (const query of ['EIO=4', 'EIO=4&transport=abc']) {
        assert.equal((await call(at(query))).status, 400, query);
      }
    });

    test('fails with an invalid request method', async () => {
      for (const method of ['POST', 'PUT']) {
        assert.equal((await call(at(POLLING), { method })).status, 400, method);
      }
    });
  });

  describe('WebSocket', () => {
    test('successfully opens a session', async (t) => {
      const socket = await RawSocket.open(t, socketUrl(QUICK));
      const frame = await socket.next('the open packet');
      assert.equal(frame[0], '0');
      const open = JSON.parse(frame.slice(1));
      assert.deepEqual(Object.keys(open).sort(), ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades']);
      assert.deepEqual(open.upgrades, []);
      assert.equal(open.pingInterval, 300);
      assert.equal(open.pingTimeout, 200);
      assert.equal(open.maxPayload, 1_000_000);
    });

    test("fails with an invalid 'EIO' query parameter", async (t) => {
      await closesWithoutASession(t, socketUrl(QUICK, 'transport=websocket'));
      await closesWithoutASession(t, socketUrl(QUICK, 'EIO=abc&transport=websocket'));
    });

    test("fails with an invalid 'transport' query parameter", async (t) => {
      await closesWithoutASession(t, socketUrl(QUICK, 'EIO=4'));
      await closesWithoutASession(t, socketUrl(QUICK, 'EIO=4&transport=abc'));
    });
  });
});

describe('message', () => {
  describe('HTTP long-polling', () => {
    test('sends and receives a payload containing one plain text packet', async () => {
      const session = await RawSession.open(QUICK);
      const post = await session.post('4hello');
      assert.equal(post.status, 200);
      assert.equal(post.body, 'ok');
      const poll = await session.poll();
      assert.equal(poll.status, 200);
      assert.equal(poll.body, '4hello');
    });

    test('sends and receives a payload containing several plain text packets', async () => {
      const session = await RawSession.open(QUICK);
      const payload = ['4test1', '4test2', '4test3'].join(SEPARATOR);
      const post = await session.post(payload);
      assert.equal(post.status, 200);
      assert.equal(post.body, 'ok');
      assert.equal((await session.poll()).body, payload);
    });

    test('sends and receives a payload containing plain text and binary packets', async () => {
      const session = await RawSession.open(QUICK);
      const payload = ['4hello', 'bAQIDBA=='].join(SEPARATOR);
      const post = await session.post(payload);
      assert.equal(post.status, 200);
      assert.equal(post.body, 'ok');
      assert.equal((await session.poll()).body, payload);
    });

    test('closes the session upon invalid packet format', async () => {
      const session = await RawSession.open(QUICK);
      // Stricter than the official case, which lets any status pass.
      assert.equal((await session.post('abc')).status, 400);
      await isGone(session);
    });

    test('closes the session upon duplicate poll requests', async () => {
      const session = await RawSession.open(QUICK);
      const parked = await session.park();
      assert.equal((await session.poll()).status, 400);
      const first = await parked.answer;
      assert.equal(first.status, 200);
      assert.equal(first.body, '1');
      await isGone(session);
    });

    test('closes the session upon cancelled polling request', async () => {
      const session = await RawSession.open(QUICK);
      const parked = await session.park();
      parked.abort();
      await assert.rejects(parked.answer);
      // Refused either as unknown or, should the server not have seen the end of the first yet, as a
      // second poll: in both cases the session is over.
      await isGone(session);
      await isGone(session);
    });
  });

  describe('WebSocket', () => {
    test('sends and receives a plain text packet', async (t) => {
      await echoes(await openSocket(t));
    });

    test('sends and receives a binary packet', async (t) => {
      const socket = await openSocket(t);
      socket.send(Buffer.of(1, 2, 3, 4));
      assert.deepEqual(await socket.next('the echo'), Buffer.of(1, 2, 3, 4));
    });

    test('closes the session upon invalid packet format', async (t) => {
      const socket = await openSocket(t);
      socket.send('abc');
      await socket.closed();
    });
  });
});

describe('heartbeat', () => {
  describe('HTTP long-polling', () => {
    test('sends ping/pong packets', async () => {
      const session = await RawSession.open(QUICK);
      for (let round = 0; round < 3; round++) {
        const poll = await session.poll();
        assert.equal(poll.status, 200);
        assert.equal(poll.body, '2');
        assert.equal((await session.post('3')).status, 200);
      }
    });

    test('closes the session upon ping timeout', async () => {
      const session = await RawSession.open(QUICK);
      await letTimePass(PING_TIMEOUT_MS);
      await isGone(session);
    });
  });

  describe('WebSocket', () => {
    test('sends ping/pong packets', async (t) => {
      const socket = await openSocket(t);
      for (let round = 0; round < 3; round++) {
        assert.equal(await socket.next('a ping'), '2');
        socket.send('3');
      }
    });

    test('closes the session upon ping timeout', async (t) => {
      const socket = await openSocket(t);
      assert.equal(await socket.next('a ping'), '2');
      await socket.closed(2_000);
    });
  });
});

describe('close', () => {
  describe('HTTP long-polling', () => {
    test('forcefully closes the session', async () => {
      const session = await RawSession.open(QUICK);
      // At once, on two connections: either may arrive first.
      const [get, post] = await Promise.all([session.poll(), session.post('1')]);
      assert.equal(post.status, 200);
      assert.equal(get.status, 200);
      assert.equal(get.body, '6');
      await isGone(session);
    });
  });

  describe('WebSocket', () => {
    test('forcefully closes the session', async (t) => {
      const socket = await openSocket(t);
      socket.send('1');
      await socket.closed();
    });
  });
});

describe('upgrade', () => {
  test('successfully upgrades from HTTP long-polling to WebSocket', async (t) => {
    const { socket } = await upgraded(t);
    await echoes(socket);
  });

  test('ignores HTTP requests with same sid after upgrade', async (t) => {
    const { session, socket } = await upgraded(t);
    // The echo proves that the upgrade packet has been read before the polls come.
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

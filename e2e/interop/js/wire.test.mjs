// The bytes themselves: what the server says to requests that no client library would make.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ECHO, QUICK, SMALL } from './servers.mjs';
import { POLLING, RawSession, RawSocket, WEBSOCKET, askForWebSocket, call, json, socketUrl } from './wire.mjs';

const at = (query) => `${ECHO}/engine.io/?${query}`;

const TRANSPORT_UNKNOWN = { code: 0, message: 'Transport unknown' };
const SID_UNKNOWN = { code: 1, message: 'Session ID unknown' };
const BAD_METHOD = { code: 2, message: 'Bad handshake method' };
const BAD_REQUEST = { code: 3, message: 'Bad request' };
const BAD_VERSION = { code: 5, message: 'Unsupported protocol version' };

/** The session answers messages as before. */
async function lives(session) {
  assert.equal((await session.post('4still here')).status, 200);
  const answer = await session.poll();
  assert.equal(answer.status, 200);
  assert.equal(answer.body, '4still here');
}

/** The server does not know the session any more. */
async function isGone(session) {
  const answer = await session.poll();
  assert.equal(answer.status, 400);
  assert.deepEqual(json(answer), SID_UNKNOWN);
}

describe('handshake', () => {
  test('the open packet has five keys in the known order', async () => {
    const answer = await call(at(POLLING));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'].toLowerCase(), 'text/plain; charset=utf-8');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.body[0], '0');
    const open = JSON.parse(answer.body.slice(1));
    // An object keeps the order of its keys, so the text can be rebuilt and compared whole.
    assert.deepEqual(Object.keys(open), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.equal(answer.body, `0${JSON.stringify(open)}`);
    assert.match(open.sid, /^[A-Za-z0-9_-]{20,}$/);
    assert.deepEqual(open.upgrades, ['websocket']);
    assert.equal(open.pingInterval, 25_000);
    assert.equal(open.pingTimeout, 20_000);
  });

  test('heartbeat and limit are announced as configured', async () => {
    const quick = await RawSession.open(QUICK);
    assert.equal(quick.handshake.pingInterval, 300);
    assert.equal(quick.handshake.pingTimeout, 200);
    assert.equal(quick.handshake.maxPayload, 1_000_000);
    const small = await RawSession.open(SMALL);
    assert.equal(small.handshake.maxPayload, 1_000);
  });

  test('a WebSocket session has the same five keys and nothing to upgrade to', async (t) => {
    const socket = await RawSocket.open(t, socketUrl(ECHO));
    const frame = await socket.next('the open packet');
    assert.equal(frame[0], '0');
    const open = JSON.parse(frame.slice(1));
    assert.deepEqual(Object.keys(open), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.deepEqual(open.upgrades, []);
  });

  test('the path works without its trailing slash', async () => {
    const answer = await call(`${ECHO}/engine.io?${POLLING}`);
    assert.equal(answer.status, 200);
    assert.equal(answer.body[0], '0');
  });

  test('every session has an id of its own', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => call(at(POLLING))));
    const ids = new Set(answers.map((answer) => JSON.parse(answer.body.slice(1)).sid));
    assert.equal(ids.size, 50);
  });
});

describe('refused over HTTP', () => {
  const cases = [
    ['an unknown transport', 'GET', 'EIO=4&transport=carrier-pigeon', TRANSPORT_UNKNOWN],
    ['a transport named like an object member', 'GET', 'EIO=4&transport=constructor', TRANSPORT_UNKNOWN],
    ['no transport', 'GET', 'EIO=4', TRANSPORT_UNKNOWN],
    ['an unknown sid', 'GET', `${POLLING}&sid=nobody`, SID_UNKNOWN],
    ['a POST to an unknown sid', 'POST', `${POLLING}&sid=nobody`, SID_UNKNOWN],
    ['a POST without a sid', 'POST', POLLING, BAD_METHOD],
    ['a PUT without a sid', 'PUT', POLLING, BAD_METHOD],
    ['no EIO', 'GET', 'transport=polling', BAD_VERSION],
    ['EIO=3', 'GET', 'EIO=3&transport=polling', BAD_VERSION],
    ['EIO=abc', 'GET', 'EIO=abc&transport=polling', BAD_VERSION],
    ['a WebSocket session without upgrade headers', 'GET', WEBSOCKET, BAD_REQUEST],
  ];
  for (const [name, method, query, refusal] of cases) {
    test(`${name}: code ${refusal.code}`, async () => {
      const answer = await call(at(query), { method, body: method === 'GET' ? undefined : '4hello' });
      assert.equal(answer.status, 400);
      assert.deepEqual(json(answer), refusal);
      // Key order and spacing too: some clients compare the text.
      assert.equal(answer.body, JSON.stringify(refusal));
    });
  }
});

describe('refused before the 101', () => {
  const cases = [
    ['an unknown sid', `${WEBSOCKET}&sid=nobody`, SID_UNKNOWN],
    ['EIO=3', 'EIO=3&transport=websocket', BAD_VERSION],
    ['no EIO', 'transport=websocket', BAD_VERSION],
    ['an unknown transport', 'EIO=4&transport=carrier-pigeon', TRANSPORT_UNKNOWN],
  ];
  for (const [name, query, refusal] of cases) {
    test(`${name}: code ${refusal.code}`, async () => {
      const answer = await askForWebSocket(at(query));
      assert.equal(answer.status, 400);
      assert.deepEqual(json(answer), refusal);
    });
  }
});

describe('a polling session', () => {
  test('answers a POST with a lower-case ok', async () => {
    const session = await RawSession.open(ECHO);
    const answer = await session.post('4hello');
    assert.equal(answer.status, 200);
    assert.equal(answer.body, 'ok');
    assert.match(answer.headers['content-type'], /^text\/html/);
    const poll = await session.poll();
    assert.equal(poll.body, '4hello');
    assert.equal(poll.headers['content-type'].toLowerCase(), 'text/plain; charset=utf-8');
  });

  for (const method of ['PUT', 'DELETE', 'HEAD']) {
    test(`survives a ${method}, which is 405`, async () => {
      const session = await RawSession.open(ECHO);
      assert.equal((await session.post('4waiting')).status, 200);
      assert.equal((await call(session.url, { method })).status, 405);
      // In particular the message that waits for a poll was not given to it.
      assert.equal((await session.poll()).body, '4waiting');
      await lives(session);
    });
  }

  test('ends when two GETs wait at once', async () => {
    const session = await RawSession.open(ECHO);
    const parked = await session.park();
    const later = await session.poll();
    assert.equal(later.status, 400);
    const first = await parked.answer;
    assert.equal(first.status, 200);
    assert.equal(first.body, '1');
    await isGone(session);
  });

  test('ends when a POST is no payload, which is 400', async () => {
    const session = await RawSession.open(ECHO);
    assert.equal((await session.post('abc')).status, 400);
    await isGone(session);
  });

  test('ends when the client says so, and the waiting GET is released', async () => {
    const session = await RawSession.open(ECHO);
    const parked = await session.park();
    const post = await session.post('1');
    assert.equal(post.status, 200);
    assert.equal(post.body, 'ok');
    const get = await parked.answer;
    assert.equal(get.status, 200);
    assert.equal(get.body, '6');
    await isGone(session);
  });

  test('takes a body of exactly maxPayload bytes', async () => {
    const session = await RawSession.open(SMALL);
    const body = '4'.padEnd(1_000, 'x');
    assert.equal((await session.post(body)).status, 200);
    assert.equal((await session.poll()).body, body);
  });

  test('ends with 413 at one byte more', async () => {
    const session = await RawSession.open(SMALL);
    assert.equal((await session.post('4'.padEnd(1_001, 'x'))).status, 413);
    await isGone(session);
  });

  test('counts bytes, not characters', async () => {
    const session = await RawSession.open(SMALL);
    // 501 characters of two bytes each, the packet type apart.
    assert.equal((await session.post(`4${'é'.repeat(500)}`)).status, 413);
  });
});

describe('a WebSocket session', () => {
  test('ends at once when the client sends a close packet', async (t) => {
    const socket = await RawSocket.open(t, socketUrl(ECHO));
    await socket.next('the open packet');
    socket.send('1');
    await socket.closed(2_000);
  });

  test('does not take polls', async (t) => {
    const socket = await RawSocket.open(t, socketUrl(ECHO));
    const { sid } = JSON.parse((await socket.next('the open packet')).slice(1));
    const answer = await call(at(`${POLLING}&sid=${sid}`));
    assert.equal(answer.status, 400);
    assert.deepEqual(json(answer), BAD_REQUEST);
    socket.send('4still here');
    assert.equal(await socket.next(), '4still here');
  });
});

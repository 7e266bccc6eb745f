// Requests for other paths reach the host app unchanged.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ECHO } from './servers.mjs';
import { POLLING, RawSocket, call } from './wire.mjs';

test('GET / is the page of the host', async () => {
  const answer = await call(`${ECHO}/`);
  assert.equal(answer.status, 200);
  assert.equal(answer.body, 'hello from the host app');
});

test('a path that only begins like ours is not ours', async () => {
  for (const path of ['/engine.iox', `/engine.iox?${POLLING}`, `/engine.iox/?${POLLING}`, `/other?${POLLING}`]) {
    const answer = await call(`${ECHO}${path}`);
    assert.equal(answer.status, 404, path);
    assert.equal(answer.body, 'host: not found', path);
  }
});

test('the host may have WebSockets of its own', async (t) => {
  const socket = await RawSocket.open(t, `${ECHO.replace(/^http/, 'ws')}/host/ws`);
  // With Engine.IO in between this would be an unknown packet, and the end.
  socket.send('hello');
  assert.equal(await socket.next(), 'hello');
  socket.send(Buffer.of(0, 1, 255));
  assert.deepEqual(await socket.next(), Buffer.of(0, 1, 255));
});

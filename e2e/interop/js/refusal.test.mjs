// The application may refuse a client when it connects: 401 and a reason, on either transport.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODES, Peer } from './peer.mjs';
import { ECHO } from './servers.mjs';
import { POLLING, WEBSOCKET, askForWebSocket, call, json } from './wire.mjs';

const refused = (options) => new Peer(ECHO, { ...options, query: { reject: '1' } });

test('polling: the client learns the status', async () => {
  const error = await refused(MODES['polling only']).failed();
  assert.equal(error.message, 'xhr poll error');
  assert.equal(error.description, 401);
});

test('websocket: the client learns the status', async () => {
  const error = await refused(MODES['websocket only']).failed();
  assert.equal(error.message, 'websocket error');
  assert.match(error.description.message, /401/);
});

test('the same JSON body on both, and no WebSocket before it', async () => {
  const polling = await call(`${ECHO}/engine.io/?${POLLING}&reject=1`);
  assert.equal(polling.status, 401);
  const websocket = await askForWebSocket(`${ECHO}/engine.io/?${WEBSOCKET}&reject=1`);
  assert.equal(websocket.status, 401);
  assert.deepEqual(json(websocket), json(polling));
});

test('a refusal concerns one client only', async (t) => {
  const peer = await Peer.open(t, ECHO, MODES['polling only']);
  await refused(MODES['polling only']).failed();
  assert.equal(await peer.ask('still here'), 'still here');
});

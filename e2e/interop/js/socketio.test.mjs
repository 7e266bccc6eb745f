// socket.io-client 4 and 2 against the example `socketio`, a Socket.IO server above the API.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { io } from 'socket.io-client';
import io2 from 'socket.io-client-v2';
import { Inbox, within } from './bounded.mjs';

const URL = process.env.SOCKETIO_URL;

const CLIENTS = { 'socket.io-client 4': io, 'socket.io-client 2': io2 };

const MODES = {
  'polling only': { transports: ['polling'], upgrade: false },
  'websocket only': { transports: ['websocket'] },
  upgrade: { transports: ['polling', 'websocket'] },
};

/** Connects to a namespace, and closes the connection after the test. */
async function connected(t, connect, namespace, options) {
  const socket = connect(URL + namespace, { forceNew: true, reconnection: false, ...options });
  t.after(() => socket.close());
  await event(socket, 'connect');
  return socket;
}

const event = (socket, name) =>
  within(new Promise((resolve) => socket.once(name, (...values) => resolve(values))), name);

/** Emits an event, and returns what it is acknowledged with. */
const asked = (socket, ...values) =>
  within(new Promise((resolve) => socket.emit(...values, (...answer) => resolve(answer))), values[0]);

for (const [name, connect] of Object.entries(CLIENTS)) {
  for (const [mode, options] of Object.entries(MODES)) {
    describe(`${name}, ${mode}`, () => {
      test('events come back with their arguments, in order', async (t) => {
        const socket = await connected(t, connect, '/', options);
        const inbox = new Inbox();
        socket.on('number', (value) => inbox.push(value));
        for (let n = 0; n < 100; n += 1) socket.emit('number', n);
        const numbers = await inbox.take(100);
        assert.deepEqual(numbers, [...Array(100).keys()]);
      });

      test('an event is acknowledged, and so is one of the server', async (t) => {
        const socket = await connected(t, connect, '/', options);
        assert.deepEqual(await asked(socket, 'sum', 1, { two: 2 }), [1, { two: 2 }]);
        socket.on('question', (answer) => answer(42));
        socket.emit('ask me');
        assert.deepEqual(await event(socket, 'answered'), [42]);
      });

      test('binary attachments travel in events and acknowledgements', async (t) => {
        const socket = await connected(t, connect, '/', options);
        const files = [Buffer.from([0, 1, 255]), Buffer.alloc(100_000, 7)];
        const echoed = event(socket, 'files');
        socket.emit('files', { name: 'a', data: files[0] }, files[1]);
        const [first, second] = await echoed;
        assert.equal(first.name, 'a');
        assert.deepEqual([Buffer.from(first.data), Buffer.from(second)], files);
        const [answer] = await asked(socket, 'file', files[1]);
        assert.deepEqual(Buffer.from(answer), files[1]);
      });

      test('a room of a namespace reaches its members alone', async (t) => {
        const members = [];
        for (const namespace of ['/chat', '/chat', '/chat', '/']) {
          members.push(await connected(t, connect, namespace, options));
        }
        const [one, two, elsewhere, main] = members;
        const inboxes = members.map((member) => {
          const inbox = new Inbox();
          member.on('said', (text) => inbox.push(text));
          return inbox;
        });
        await Promise.all([
          asked(one, 'join', 'red'),
          asked(two, 'join', 'red'),
          asked(elsewhere, 'join', 'blue'),
          asked(main, 'join', 'red'),
        ]);
        one.emit('say', 'red', 'hello');
        assert.deepEqual([await inboxes[0].next(), await inboxes[1].next()], ['hello', 'hello']);
        // Whatever was sent to them before comes before this.
        elsewhere.emit('say', 'blue', 'alone');
        main.emit('say', 'red', 'alone');
        assert.deepEqual([await inboxes[2].next(), await inboxes[3].next()], ['alone', 'alone']);
      });

      test('several namespaces share one connection', async (t) => {
        const main = await connected(t, connect, '/', options);
        const chat = main.io.socket('/chat');
        await event(chat, 'connect');
        assert.deepEqual(await asked(chat, 'sum', 1), [1]);
        chat.close();
        assert.deepEqual(await asked(main, 'sum', 2), [2]);
      });
    });
  }
}

test('a namespace may refuse a client, and let it in with the right token', async (t) => {
  const options = { transports: ['websocket'], forceNew: true, reconnection: false };
  const refused = io(`${URL}/admin`, options);
  t.after(() => refused.close());
  const [error] = await event(refused, 'connect_error');
  assert.equal(error.message, 'not allowed');
  const auth = { token: 'secret' };
  const admin = await connected(t, io, '/admin', { ...options, auth });
  assert.deepEqual(await asked(admin, 'sum', 1), [1]);
});

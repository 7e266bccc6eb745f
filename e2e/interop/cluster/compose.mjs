// Two pages' worth of clients of the demo behind a load balancer without stickiness: `node compose.mjs URL`.

import assert from 'node:assert/strict';
import { Socket } from 'engine.io-client';
import { within } from '../js/bounded.mjs';

const url = process.argv[2];

const page = await fetch(url);
assert.equal(page.status, 200);
assert.match(await page.text(), /Engine\.IO/);

/** Connects, and gives the socket with what it has been sent. */
async function open(transports) {
  const socket = new Socket(url, { transports });
  const said = [];
  socket.on('message', (text) => {
    const message = JSON.parse(text);
    if (message.type === 'say') said.push(message.text);
    if (message.type === 'ping') socket.emit('echo', message.n);
  });
  await within(new Promise((done, fail) => socket.on('open', done).on('close', fail)), 'open');
  return { socket, said };
}

const clients = [];
for (const transports of [['polling'], ['polling', 'websocket'], ['websocket'], ['polling']]) clients.push(await open(transports));
const nodes = new Set(clients.map(({ socket }) => socket.id.split('.')[1]));
assert.deepEqual([...nodes].sort(), ['a', 'b'], 'the balancer uses both nodes');
for (let n = 1; n <= 20; n += 1) {
  for (const { socket } of clients) {
    const echo = new Promise((done) => socket.once('echo', done));
    socket.send(JSON.stringify({ type: 'ping', n }));
    assert.equal(await within(echo, `echo ${n}`), n);
  }
}
for (const [n, { socket }] of clients.entries()) {
  socket.send(JSON.stringify({ type: 'say', text: `hello ${n}` }));
  const arrived = async () => {
    while (clients.some(({ said }) => said.length <= n)) await new Promise((done) => setTimeout(done, 10));
  };
  await within(arrived(), `what client ${n} said`);
}
for (const { said } of clients) assert.deepEqual(said, ['hello 0', 'hello 1', 'hello 2', 'hello 3']);
for (const { socket } of clients) socket.close();
console.log('ok - four clients of two nodes talk to each other');

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
const owners = () => [...new Set(clients.map(({ socket }) => socket.id.split('.')[1]))].sort();
// The polls of earlier clients take turns too, so the owner of a client is a matter of chance.
while (clients.length < 4 || (owners().length < 2 && clients.length < 64)) {
  const transports = [['polling'], ['polling', 'websocket'], ['websocket'], ['polling']][clients.length % 4];
  clients.push(await open(transports));
}
assert.deepEqual(owners(), ['a', 'b'], 'the balancer uses both nodes');
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
for (const { said } of clients) assert.deepEqual(said, clients.map((_, n) => `hello ${n}`));
for (const { socket } of clients) socket.close();
console.log(`ok - ${clients.length} clients of two nodes talk to each other`);

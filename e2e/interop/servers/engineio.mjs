// The original server, as the other end of the Rust client.
//
// `node engineio.mjs [--listen ADDR:PORT] [--ping-interval-ms N] [--ping-timeout-ms N] [--max-payload BYTES]
// [--tls-cert FILE --tls-key FILE] [--package NAME]`
//
// `--package` names another version of engine.io, as package.json does.
// It does what the Rust `echo` does: every message comes back as what it was, `close-me` disconnects the sender, and
// a connect with `reject=1` in its query is refused. It ends at SIGTERM.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    listen: { type: 'string', default: '127.0.0.1:0' },
    'ping-interval-ms': { type: 'string', default: '25000' },
    'ping-timeout-ms': { type: 'string', default: '20000' },
    'max-payload': { type: 'string', default: '1000000' },
    'tls-cert': { type: 'string' },
    'tls-key': { type: 'string' },
    package: { type: 'string', default: 'engine.io' },
  },
});

// Versions before 6 are CommonJS, whose exports may be under `default`.
const engineIo = await import(options.package);
const Server = engineIo.Server ?? engineIo.default.Server;

const number = (name) => {
  const value = Number(options[name]);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} does not take ${options[name]}`);
  return value;
};

const engine = new Server({
  pingInterval: number('ping-interval-ms'),
  pingTimeout: number('ping-timeout-ms'),
  maxHttpBufferSize: number('max-payload'),
  // For clients that offer it only.
  perMessageDeflate: { threshold: 1024 },
  allowRequest: (request, decide) => {
    const isWelcome = new URL(request.url, 'http://localhost').searchParams.get('reject') !== '1';
    decide(isWelcome ? null : 'rejected', isWelcome);
  },
});

engine.on('connection', (socket) => {
  socket.on('message', (message) => {
    if (message === 'close-me') return socket.close();
    // An empty text message carries no data in this server: it hands out `undefined`.
    socket.send(message ?? '');
  });
});

/** Answers requests for other paths; without it node would never answer them. */
const others = (_, response) => response.writeHead(404).end('not found');

const isSecure = options['tls-cert'] !== undefined;
const server = isSecure
  ? https.createServer({ cert: readFileSync(options['tls-cert']), key: readFileSync(options['tls-key']) }, others)
  : http.createServer(others);
engine.attach(server);

const colon = options.listen.lastIndexOf(':');
const [host, port] = [options.listen.slice(0, colon), Number(options.listen.slice(colon + 1))];
server.listen(port, host, () => {
  console.log(`listening on ${isSecure ? 'https' : 'http'}://${host}:${server.address().port}`);
});

process.on('SIGTERM', () => {
  engine.close();
  server.close();
  server.closeAllConnections();
  // Sessions that were closed while nobody polled have timers left, which nobody waits for.
  process.exit(0);
});

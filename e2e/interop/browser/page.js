// Runs in every page of the browser tests, before its own scripts. `eio` is the official client, as its bundle for
// browsers gives it; what happens to the last one, `client`, is kept in `seen`.

function watch(socket) {
  const seen = { opened: false, sid: null, messages: [], upgraded: false, transports: [], closed: null, pings: 0 };
  Object.assign(window, { seen, client: socket });
  socket.on("open", () => {
    Object.assign(seen, { opened: true, sid: socket.id });
    seen.transports.push(socket.transport.name);
  });
  socket.on("upgrade", (transport) => {
    seen.upgraded = true;
    seen.transports.push(transport.name);
  });
  socket.on("message", (data) => seen.messages.push(data));
  socket.on("ping", () => (seen.pings += 1));
  socket.on("error", (error) => (seen.error = String(error?.description?.message ?? error?.message ?? error)));
  socket.on("close", (reason) => (seen.closed = reason));
}

/** Connects to the page's own server, or to `url`. */
function connect(options = {}, url = location.origin) {
  watch(eio(url, options));
}

/** The bytes of a message, whatever holds them, as an array. */
async function bytes(data) {
  return [...new Uint8Array(data instanceof Blob ? await data.arrayBuffer() : data)];
}

Object.assign(window, { watch, connect, bytes });

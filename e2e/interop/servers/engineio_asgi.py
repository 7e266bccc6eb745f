"""python-engineio's ASGI server under uvicorn, as the other end of the Rust client.

`python engineio_asgi.py [--listen ADDR:PORT] [--ping-interval-ms N] [--ping-timeout-ms N] [--max-payload BYTES]`

It does what the Rust `echo` does: every message comes back as what it was, `close-me` disconnects the sender, and a
connect with `reject=1` in its query is refused. It ends at SIGTERM.

`Payload.max_decode_packets` is left at its 16 on purpose: this server loses what comes behind the sixteenth packet of a
POST, and the client must get along with that as users will meet it.
"""

import argparse
import signal
import socket
from urllib.parse import parse_qs

import engineio
import uvicorn

parser = argparse.ArgumentParser()
parser.add_argument("--listen", default="127.0.0.1:0")
parser.add_argument("--ping-interval-ms", type=int, default=25000)
parser.add_argument("--ping-timeout-ms", type=int, default=20000)
parser.add_argument("--max-payload", type=int, default=1_000_000)
options = parser.parse_args()

eio = engineio.AsyncServer(
    async_mode="asgi",
    ping_interval=options.ping_interval_ms / 1000,
    ping_timeout=options.ping_timeout_ms / 1000,
    max_http_buffer_size=options.max_payload,
    # One message after the other, so that what is out of order is out of order on the wire.
    async_handlers=False,
)


@eio.on("connect")
async def connect(sid, environ):
    query = parse_qs(environ["QUERY_STRING"])
    if query.get("reject") == ["1"]:
        return "rejected"


@eio.on("message")
async def message(sid, data):
    if data == "close-me":
        await eio.disconnect(sid)
    else:
        await eio.send(sid, data)


# Bound here, because uvicorn does not say which free port it has found. The protocol is named, because asyncio turns
# Nagle's algorithm off only where it is, and with it each POST would take as long as a delayed acknowledgement.
host, _, port = options.listen.rpartition(":")
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, int(port)))
listener.listen(1024)
print(f"listening on http://{host}:{listener.getsockname()[1]}", flush=True)

# uvicorn stops in good order, and then sends itself the signal again; without this it would die of that.
signal.signal(signal.SIGTERM, lambda *_: None)
config = uvicorn.Config(
    engineio.ASGIApp(eio),
    log_level="warning",
    # Long polls are open for as long as they like.
    timeout_graceful_shutdown=1,
)
uvicorn.Server(config).run(sockets=[listener])

"""python-engineio under uvicorn, as an echo server for the benchmarks.

Prints its address, then serves until it is ended.
"""

import socket
import sys

import engineio
import uvicorn

ping_ms = int(sys.argv[sys.argv.index("--ping-ms") + 1]) if "--ping-ms" in sys.argv else 25000
eio = engineio.AsyncServer(
    async_mode="asgi",
    ping_interval=ping_ms / 1000,
    ping_timeout=20,
    max_http_buffer_size=1_000_000,
    cors_allowed_origins="*",
)
sids = set()


@eio.on("connect")
async def connect(sid, environ):
    sids.add(sid)


@eio.on("disconnect")
def disconnect(sid, reason=None):
    sids.discard(sid)


@eio.on("message")
async def message(sid, data):
    if isinstance(data, str) and data.startswith("bcast:"):
        for other in list(sids):
            await eio.send(other, data)
    else:
        await eio.send(sid, data)


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
config = uvicorn.Config(
    engineio.ASGIApp(eio),
    log_level="error",
    access_log=False,
    ws="websockets-sansio",
    ws_per_message_deflate=False,
    timeout_keep_alive=120,
)
uvicorn.Server(config).run(sockets=[listener])

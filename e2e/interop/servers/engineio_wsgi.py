"""python-engineio's WSGI server with threads or gevent, as the other end of the Rust client.

`python engineio_wsgi.py --mode threading|gevent [--listen ADDR:PORT] [--ping-interval-ms N] [--ping-timeout-ms N]
[--max-payload BYTES]`

It does what the Rust `echo` does: every message comes back as what it was, `close-me` disconnects the sender, and a
connect with `reject=1` in its query is refused. It ends at SIGTERM.
"""

import argparse
import os
import signal
import socket
import sys
from urllib.parse import parse_qs

parser = argparse.ArgumentParser()
parser.add_argument("--mode", choices=["threading", "gevent"], required=True)
parser.add_argument("--listen", default="127.0.0.1:0")
parser.add_argument("--ping-interval-ms", type=int, default=25000)
parser.add_argument("--ping-timeout-ms", type=int, default=20000)
parser.add_argument("--max-payload", type=int, default=1_000_000)
options = parser.parse_args()

if options.mode == "gevent":
    from gevent import monkey

    monkey.patch_all()

import engineio  # noqa: E402

eio = engineio.Server(
    async_mode=options.mode,
    ping_interval=options.ping_interval_ms / 1000,
    ping_timeout=options.ping_timeout_ms / 1000,
    max_http_buffer_size=options.max_payload,
    # One message after the other, so that what is out of order is out of order on the wire.
    async_handlers=False,
)


@eio.on("connect")
def connect(sid, environ):
    query = parse_qs(environ["QUERY_STRING"])
    if query.get("reject") == ["1"]:
        return "rejected"


@eio.on("message")
def message(sid, data):
    if data == "close-me":
        eio.disconnect(sid)
    else:
        eio.send(sid, data)


app = engineio.WSGIApp(eio)
host, _, port = options.listen.rpartition(":")

if options.mode == "gevent":
    from gevent import pywsgi
    from geventwebsocket.handler import WebSocketHandler

    server = pywsgi.WSGIServer((host, int(port)), app, handler_class=WebSocketHandler, log=None)
    server.init_socket()
    # Accepted connections inherit it. With Nagle's algorithm each POST would take as long as a delayed acknowledgement.
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = server.socket.getsockname()[1]
    serve = server.serve_forever
else:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_):
            pass

    server = make_server(host, int(port), app, threaded=True, request_handler=Quiet)
    port = server.server_port
    serve = server.serve_forever

# Sessions have threads that would keep the process alive.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print(f"listening on http://{host}:{port}", flush=True)
sys.exit(serve())

"""Where the servers listen, and what both clients need."""

import os

from engineio import payload

# The client refuses a poll of more than 16 packets and drops the connection. Our server sends all that
# is waiting in one body, as the protocol allows and as the original does, so the limit is raised here.
payload.Payload.max_decode_packets = 1000

#: Seconds that anything may take, unless a test is about time.
PATIENCE = 10

MESSAGES = [f"message {n}" for n in range(300)]

# No text here may look like JSON, because this client parses such text behind the user's back.
TEXTS = [
    "hello",
    "",
    "é € 😀 e\u0301",
    "one\u2028two",
    "a\0b",
    "שלום مرحبا",
    "".join(chr(plane * 0x10000 + 0x4E00) for plane in range(17)),
]

BINARIES = [bytes(range(256)) * (size // 256) + bytes(range(size % 256)) for size in (0, 1, 2, 3, 126, 65535, 65536)]


def required(name):
    """The address of a server; without it the tests fail, because finding nothing to test is no success."""
    url = os.environ.get(name)
    if not url:
        raise RuntimeError(f"{name} is not set: run these tests with `cargo xtask interop --only python`")
    return url.rstrip("/")


ECHO = required("ECHO_URL")
QUICK = required("ECHO_QUICK_URL")

#: What the client calls the transports, by the name of the mode: the transports allowed, and the one it ends up on.
MODES = {
    "polling only": (["polling"], "polling"),
    "websocket only": (["websocket"], "websocket"),
    "upgrade": (["polling", "websocket"], "websocket"),
}

#: How a client that was disconnected by the server may put it. On a WebSocket this client knows only the
#: close packet as an orderly end; a bare close frame, which the protocol allows as well, is an error to it.
SERVER_CLOSED = {
    "polling": {"server disconnect"},
    "websocket": {"server disconnect", "transport error"},
}

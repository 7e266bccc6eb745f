"""Conversations of python-engineio through load balancers that give each request to the next node of a cluster.

`BALANCERS` has a line with a name and a URL for each balancer, and `SECONDS` says how long the conversations last.
"""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
BALANCERS = [line.split("\t") for line in os.environ["BALANCERS"].splitlines()]
SECONDS = float(os.environ["SECONDS"])
# What is imported wants servers of its own, which are not used here.
for name in ("ECHO_URL", "ECHO_QUICK_URL"):
    os.environ.setdefault(name, BALANCERS[0][1])

from support import MODES  # noqa: E402
from test_client import Peer  # noqa: E402

failures = []


def converse(balancer, url, mode):
    transports, ends_on = MODES[mode]
    peer = Peer()
    try:
        peer.client.connect(url, transports=transports)
        assert peer.client.transport() == ends_on, peer.client.transport()
        sid = peer.client.sid
        end = time.monotonic() + SECONDS
        number = 0
        while time.monotonic() < end:
            sent = [f"message {number}", b"\0" * (number % 3_000), "é" * 5_000, b"\xff" * 30_000]
            for message in sent:
                peer.client.send(message)
            received = peer.take(len(sent))
            assert received == sent, f"round {number} came back as something else"
            number += 1
            time.sleep(0.1)
        assert peer.ask("whoami") == sid
        assert not peer.gone.is_set(), peer.reason
        peer.leave()
        print(f"ok - python-engineio through {balancer}, {mode}: {number * 4} messages", flush=True)
    except BaseException as error:
        failures.append(mode)
        print(f"not ok - python-engineio through {balancer}, {mode}: {error!r}, {peer.reason}", flush=True)


threads = [
    threading.Thread(target=converse, args=(balancer, url, mode), daemon=True)
    for balancer, url in BALANCERS
    for mode in ("polling only", "upgrade")
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(SECONDS + 60)
if any(thread.is_alive() for thread in threads):
    failures.append("a conversation hangs")
sys.exit(1 if failures else 0)

"""The synchronous client: threads, requests and websocket-client."""

import queue
import threading
import unittest

import engineio
from support import BINARIES, ECHO, MESSAGES, MODES, PATIENCE, QUICK, SERVER_CLOSED, TEXTS


class InOrder(engineio.Client):
    """A client that calls the message handler in its read loop.

    The original starts a thread for each message, and threads lose the order of arrival, which is what
    these tests look at.
    """

    def _trigger_event(self, event, *args, **kwargs):
        kwargs["run_async"] = False
        return super()._trigger_event(event, *args, **kwargs)


class Peer:
    def __init__(self):
        self.messages = queue.Queue()
        self.reason = None
        self.gone = threading.Event()
        self.client = InOrder(request_timeout=PATIENCE, handle_sigint=False)
        self.client.on("message", self.messages.put)
        self.client.on("disconnect", self._on_disconnect)

    def _on_disconnect(self, reason):
        self.reason = reason
        self.gone.set()

    def take(self, count):
        return [self.messages.get(timeout=PATIENCE) for _ in range(count)]

    def ask(self, message):
        self.client.send(message)
        return self.take(1)[0]

    def leave(self):
        if not self.gone.is_set():
            # A client that disconnects while a POST is in flight never sends its close packet,
            # and then waits for the next ping of the server before it returns.
            self.client.queue.join()
        self.client.disconnect()


class ClientTest(unittest.TestCase):
    def open(self, mode, url=ECHO):
        transports, ends_on = MODES[mode]
        peer = Peer()
        peer.client.connect(url, transports=transports)
        self.addCleanup(peer.leave)
        self.assertEqual(peer.client.transport(), ends_on)
        return peer

    def test_text_comes_back_unchanged(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = self.open(mode)
                for text in TEXTS:
                    self.assertEqual(peer.ask(text), text)

    def test_binary_comes_back_unchanged(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = self.open(mode)
                for data in BINARIES:
                    received = peer.ask(data)
                    self.assertIsInstance(received, bytes)
                    self.assertEqual(received, data)

    def test_messages_keep_their_order(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = self.open(mode)
                for message in MESSAGES:
                    peer.client.send(message)
                self.assertEqual(peer.take(len(MESSAGES)), MESSAGES)

    def test_whoami_answers_the_id_that_the_client_knows(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = self.open(mode)
                self.assertEqual(peer.ask("whoami"), peer.client.sid)

    def test_the_server_closes(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = self.open(mode)
                peer.client.send("close-me")
                self.assertTrue(peer.gone.wait(PATIENCE), "no disconnect event")
                self.assertIn(peer.reason, SERVER_CLOSED[MODES[mode][1]])

    def test_the_client_closes(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                # Frequent pings bound the wait of a client whose threads miss each other in `leave`.
                observer = self.open(mode, QUICK)
                peer = self.open(mode, QUICK)
                self.assertEqual(peer.ask("here"), "here")
                peer.leave()
                self.assertEqual(peer.reason, "client disconnect")
                self.assertEqual(observer.ask("whoami"), observer.client.sid)

    def test_a_refusal_carries_its_json_body(self):
        with self.assertRaises(engineio.exceptions.ConnectionError) as caught:
            Peer().client.connect(f"{ECHO}/?reject=1", transports=["polling"])
        message, body = caught.exception.args
        self.assertEqual(message, "Unexpected status code 401 in server response")
        self.assertIsNotNone(body)

    def test_a_refusal_over_websocket(self):
        with self.assertRaises(engineio.exceptions.ConnectionError):
            Peer().client.connect(f"{ECHO}/?reject=1", transports=["websocket"])

    def test_heartbeats_keep_it_alive(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = self.open(mode, QUICK)
                self.assertFalse(peer.gone.wait(2), f"gone within two seconds: {peer.reason}")
                self.assertEqual(peer.ask("still here"), "still here")

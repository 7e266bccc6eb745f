"""The asynchronous client: asyncio and aiohttp."""

import asyncio
import time
import unittest

import engineio
from support import BINARIES, ECHO, MESSAGES, MODES, PATIENCE, QUICK, SERVER_CLOSED, TEXTS


class InOrder(engineio.AsyncClient):
    """A client that calls the message handler in its read loop, not in a task for each message."""

    async def _trigger_event(self, event, *args, **kwargs):
        kwargs["run_async"] = False
        return await super()._trigger_event(event, *args, **kwargs)


class Peer:
    def __init__(self):
        self.messages = asyncio.Queue()
        self.reason = None
        self.gone = asyncio.Event()
        self.client = InOrder(request_timeout=PATIENCE, handle_sigint=False)
        self.client.on("message", self.messages.put_nowait)
        self.client.on("disconnect", self._on_disconnect)

    def _on_disconnect(self, reason):
        self.reason = reason
        self.gone.set()

    async def take(self, count):
        messages = []

        async def collect():
            while len(messages) < count:
                messages.append(await self.messages.get())

        await asyncio.wait_for(collect(), PATIENCE)
        return messages

    async def ask(self, message):
        await self.client.send(message)
        return (await self.take(1))[0]

    async def leave(self):
        if not self.gone.is_set():
            # A client that disconnects while a POST is in flight never sends its close packet,
            # and then waits for the next ping of the server before it returns.
            await asyncio.wait_for(self.client.queue.join(), PATIENCE)
        await self.client.disconnect()


class AsyncClientTest(unittest.IsolatedAsyncioTestCase):
    async def open(self, mode, url=ECHO):
        transports, ends_on = MODES[mode]
        peer = Peer()
        await peer.client.connect(url, transports=transports)
        self.addAsyncCleanup(peer.leave)
        self.assertEqual(peer.client.transport(), ends_on)
        return peer

    async def test_text_comes_back_unchanged(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = await self.open(mode)
                for text in TEXTS:
                    self.assertEqual(await peer.ask(text), text)

    async def test_binary_comes_back_unchanged(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = await self.open(mode)
                for data in BINARIES:
                    received = await peer.ask(data)
                    self.assertIsInstance(received, bytes)
                    self.assertEqual(received, data)

    async def test_messages_keep_their_order(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = await self.open(mode)
                for message in MESSAGES:
                    await peer.client.send(message)
                self.assertEqual(await peer.take(len(MESSAGES)), MESSAGES)

    async def test_whoami_answers_the_id_that_the_client_knows(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = await self.open(mode)
                self.assertEqual(await peer.ask("whoami"), peer.client.sid)

    async def test_the_server_closes(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = await self.open(mode)
                await peer.client.send("close-me")
                await asyncio.wait_for(peer.gone.wait(), PATIENCE)
                self.assertIn(peer.reason, SERVER_CLOSED[MODES[mode][1]])

    async def test_the_client_closes(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                observer = await self.open(mode)
                peer = await self.open(mode)
                self.assertEqual(await peer.ask("here"), "here")
                began = time.monotonic()
                # On polling this waits for the GET that is under way, so the server has to release it.
                await peer.leave()
                self.assertLess(time.monotonic() - began, PATIENCE)
                self.assertEqual(peer.reason, "client disconnect")
                self.assertEqual(await observer.ask("whoami"), observer.client.sid)

    async def test_a_refusal_carries_its_json_body(self):
        peer = Peer()
        self.addAsyncCleanup(peer.client.disconnect)
        with self.assertRaises(engineio.exceptions.ConnectionError) as caught:
            await peer.client.connect(f"{ECHO}/?reject=1", transports=["polling"])
        message, body = caught.exception.args
        self.assertEqual(message, "Unexpected status code 401 in server response")
        # This client reads the body only when the content type is that of JSON.
        self.assertIsNotNone(body)

    async def test_a_refusal_over_websocket(self):
        peer = Peer()
        self.addAsyncCleanup(peer.client.disconnect)
        with self.assertRaises(engineio.exceptions.ConnectionError):
            await peer.client.connect(f"{ECHO}/?reject=1", transports=["websocket"])

    async def test_heartbeats_keep_it_alive(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                peer = await self.open(mode, QUICK)
                with self.assertRaises(asyncio.TimeoutError, msg=f"gone within two seconds: {peer.reason}"):
                    await asyncio.wait_for(peer.gone.wait(), 2)
                self.assertEqual(await peer.ask("still here"), "still here")

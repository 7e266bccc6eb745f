"""A server over WebTransport alone, on aioquic, as the other end of the Rust client.

`python engineio_aioquic.py [--listen ADDR:PORT]`

Every message comes back as what it was. A ping goes out each 300 ms and must be answered within 2 s. `close-me` gets the
close packet and the end of the session, in one go, and `stop-me` a STOP_SENDING. The SHA-256 hash of its certificate is
the fragment of the URL that it prints.
"""

import argparse
import asyncio
import datetime
import json
import tempfile

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PING_INTERVAL = 0.3
PING_TIMEOUT = 2.0
MAX_PAYLOAD = 1_000_000

# A DATA frame with the capsule CLOSE_WEBTRANSPORT_SESSION, code 0 (draft-ietf-webtrans-http3).
CLOSE_CAPSULE = b"\x00\x07\x68\x43\x04\x00\x00\x00\x00"

parser = argparse.ArgumentParser()
parser.add_argument("--listen", default="127.0.0.1:0")
options = parser.parse_args()


def framed(packet, is_binary=False):
    """A packet with its length, as on the stream."""
    flag, length = 0x80 if is_binary else 0, len(packet)
    if length < 126:
        return bytes([flag | length]) + packet
    if length < 65536:
        return bytes([flag | 126]) + length.to_bytes(2, "big") + packet
    return bytes([flag | 127]) + length.to_bytes(8, "big") + packet


class Session(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.request = None  # the stream of the session's request
        self.stream = None  # the stream of its packets
        self.unparsed = bytearray()
        self.timer = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic, enable_webtransport=True)
        for event in self.http.handle_event(event) if self.http else []:
            if isinstance(event, HeadersReceived):
                self.request = event.stream_id
                accepted = [(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")]
                self.http.send_headers(event.stream_id, accepted)
            elif isinstance(event, WebTransportStreamDataReceived):
                self.stream = event.stream_id
                self.unparsed += event.data
                self.parse()
        self.transmit()

    def connection_lost(self, error):
        self.wait(None)
        super().connection_lost(error)

    def parse(self):
        data = self.unparsed
        while data:
            length, start = data[0] & 0x7F, 1
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[1:start], "big") if len(data) >= start else MAX_PAYLOAD
            if len(data) < start + length:
                return
            is_binary, packet = bool(data[0] & 0x80), bytes(data[start : start + length])
            del data[: start + length]
            self.take(packet, is_binary)

    def take(self, packet, is_binary):
        if is_binary:
            self.send(packet, True)
        elif packet == b"0":
            handshake = {
                "sid": "aioquic",
                "upgrades": [],
                "pingInterval": int(PING_INTERVAL * 1000),
                "pingTimeout": int(PING_TIMEOUT * 1000),
                "maxPayload": MAX_PAYLOAD,
            }
            self.send(b"0" + json.dumps(handshake).encode())
            self.wait(PING_INTERVAL, self.ping)
        elif packet == b"3":
            self.wait(PING_INTERVAL, self.ping)
        elif packet == b"4close-me":
            self.wait(None)
            self.send(b"4last words")
            self.send(b"1", end=True)
            self._quic.send_stream_data(self.request, CLOSE_CAPSULE, end_stream=True)
        elif packet == b"4stop-me":
            self._quic.stop_stream(self.stream, 0)
        elif packet[:1] in (b"4", b"b"):  # `b` is binary data as text, in which empty data comes
            self.send(packet)

    def send(self, packet, is_binary=False, end=False):
        self._quic.send_stream_data(self.stream, framed(packet, is_binary), end_stream=end)

    def wait(self, seconds, then=None):
        """Does something later, in place of what was to be done before."""
        if self.timer:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(seconds, then) if seconds else None

    def ping(self):
        self.send(b"2")
        self.transmit()
        self.wait(PING_TIMEOUT, self.close)


def identity():
    """A certificate that is valid for the days that browsers allow, and its key, as PEM; and its hash."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    certificate = builder.not_valid_after(now + datetime.timedelta(days=10)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private, certificate.fingerprint(hashes.SHA256()).hex()


async def main():
    host, _, port = options.listen.rpartition(":")
    certificate, key, fingerprint = identity()
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, is_client=False, max_datagram_frame_size=65536)
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + key)
        file.flush()
        configuration.load_cert_chain(file.name, file.name)
    server = await serve(host, int(port), configuration=configuration, create_protocol=Session)
    port = server._transport.get_extra_info("sockname")[1]
    print(f"listening on https://{host}:{port}#{fingerprint}", flush=True)
    await asyncio.Future()


asyncio.run(main())

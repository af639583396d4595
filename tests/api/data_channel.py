"""A small client of the Session Manager's data channel: WebSocket (RFC 6455) and messages, with Python's library only."""

import base64
import hashlib
import json
import os
import select
import socket
import struct
import time
import urllib.parse
import uuid

HEADER = struct.Struct(">I32sIQqQ16s32sII")
OUTPUT, SIZE, HANDSHAKE_REQUEST, HANDSHAKE_RESPONSE, HANDSHAKE_COMPLETE, FLAG = 1, 3, 5, 6, 7, 10


def pack(kind, payload, payload_type=0, sequence=0, flags=0, message_id=None, digest=None):
    """One message; the halves of its id change places."""
    i = (message_id or uuid.uuid4()).bytes
    digest = hashlib.sha256(payload).digest() if digest is None else digest
    return HEADER.pack(116, kind.encode().ljust(32), 1, int(time.time() * 1000), sequence, flags, i[8:] + i[:8], digest, payload_type, len(payload)) + payload


def unpack(data):
    length, kind, _, _, sequence, flags, i, digest, payload_type, size = HEADER.unpack_from(data)
    payload = data[HEADER.size:]
    assert length == 116 and size == len(payload) and digest == hashlib.sha256(payload).digest(), data[:120]
    return kind.decode().strip(), sequence, flags, uuid.UUID(bytes=i[8:] + i[:8]), payload_type, payload


class WebSocket:
    """A connection; raises ConnectionError with the server's status line when it is refused."""

    def __init__(self, url, early=b""):
        at = urllib.parse.urlsplit(url)
        assert at.scheme == "ws", url
        self.socket = socket.create_connection((at.hostname, at.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {at.path}?{at.query} HTTP/1.1\r\nHost: {at.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        self.socket.sendall(head.encode() + early)
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.fill()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.split(b"\r\n")[0].decode())
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert b"Sec-WebSocket-Accept: " + accept in head, head
        self.closed = None  # the code of the closing frame

    def fill(self):
        more = self.socket.recv(65536)
        if not more:
            raise EOFError
        self.bytes += more

    @staticmethod
    def frame(opcode, payload, fin=True):
        mask = os.urandom(4)
        size = bytes([len(payload) | 0x80]) if len(payload) < 126 else bytes([126 | 0x80]) + struct.pack(">H", len(payload)) if len(payload) < 65536 else bytes([127 | 0x80]) + struct.pack(">Q", len(payload))
        return bytes([opcode | (0x80 if fin else 0)]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))

    def send(self, opcode, payload):
        self.socket.sendall(self.frame(opcode, payload))

    def receive(self, timeout=60):
        """The next message's bytes; None: nothing came in time, or it is over (closed)."""
        end = time.monotonic() + timeout
        while self.closed is None:
            taken = self.take()
            if taken is None:
                left = end - time.monotonic()
                if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                    return None
                try:
                    self.fill()
                except (EOFError, ConnectionResetError):
                    self.closed = 0
                continue
            opcode, payload = taken
            if opcode in (1, 2):
                return payload
            if opcode == 8:
                self.closed = struct.unpack(">H", payload[:2])[0] if payload else 1005
                self.send(8, payload[:2])
        return None

    def take(self):
        if len(self.bytes) < 2:
            return None
        assert self.bytes[1] < 128 and self.bytes[0] & 0x80, self.bytes[:2]  # servers do not mask; one frame a message
        size, at = self.bytes[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            if len(self.bytes) < at:
                return None
            size = int.from_bytes(self.bytes[2:at], "big")
        if len(self.bytes) < at + size:
            return None
        payload, opcode = self.bytes[at:at + size], self.bytes[0] & 15
        self.bytes = self.bytes[at + size:]
        return opcode, payload


class Session:
    """A session of ExecuteCommand (`answer`: its "session"), as the plugin keeps it."""

    def __init__(self, answer, token=None, handshake=True):
        self.ws = WebSocket(answer["streamUrl"])
        self.sequence = self.expected = 0
        self.text, self.output, self.farewell = b"", [], None
        self.unacknowledged, self.later = {}, {}
        self.ignore = set()  # numbers of messages that are thrown away when they come first
        self.ws.send(1, json.dumps({"MessageSchemaVersion": "1.0", "RequestId": str(uuid.uuid4()), "TokenValue": token or answer["tokenValue"], "ClientId": str(uuid.uuid4()), "ClientVersion": "1.2.0.0"}).encode())
        if handshake:
            self.until(lambda: self.ready)

    ready = False

    def until(self, probe, timeout=60):
        end = time.monotonic() + timeout
        while not probe():
            assert time.monotonic() < end and self.step(max(end - time.monotonic(), 0)), (self.text[-2000:], self.ws.closed, self.farewell)

    def step(self, timeout=60):
        """Takes a message; False: nothing came."""
        data = self.ws.receive(timeout)
        if data is None:
            return False
        kind, sequence, flags, message_id, payload_type, payload = unpack(data)
        if kind == "acknowledge":
            content = json.loads(payload)
            assert content["AcknowledgedMessageType"] == "input_stream_data"
            self.unacknowledged.pop(content["AcknowledgedMessageSequenceNumber"], None)
        elif kind == "channel_closed":
            self.farewell = json.loads(payload)
        elif kind == "output_stream_data":
            if sequence in self.ignore:
                self.ignore.remove(sequence)
                return True
            assert flags == (1 if sequence == 0 else 0)
            self.acknowledge(kind, sequence, message_id)
            self.later[sequence] = payload_type, payload
            while self.expected in self.later:
                self.take(*self.later.pop(self.expected))
                self.expected += 1
        return True

    def acknowledge(self, kind, sequence, message_id):
        content = {"AcknowledgedMessageType": kind, "AcknowledgedMessageId": str(message_id), "AcknowledgedMessageSequenceNumber": sequence, "IsSequentialMessage": True}
        self.ws.send(2, pack("acknowledge", json.dumps(content).encode(), flags=3))

    def take(self, payload_type, payload):
        if payload_type == HANDSHAKE_REQUEST:
            actions = json.loads(payload)["RequestedClientActions"]
            assert [(a["ActionType"], a["ActionParameters"]["SessionType"]) for a in actions] == [("SessionType", "InteractiveCommands")]
            self.put(HANDSHAKE_RESPONSE, json.dumps({"ClientVersion": "1.2.0.0", "ProcessedClientActions": [{"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": None, "Error": ""}], "Errors": None}).encode())
        elif payload_type == HANDSHAKE_COMPLETE:
            self.ready = "HandshakeTimeToComplete" in json.loads(payload)
        elif payload_type == OUTPUT:
            self.text += payload

    def put(self, payload_type, payload):
        message = pack("input_stream_data", payload, payload_type, self.sequence, 0)
        self.unacknowledged[self.sequence] = message
        self.sequence += 1
        self.ws.send(2, message)

    def type(self, text):
        self.put(OUTPUT, text.encode())

    def size(self, cols, rows):
        self.put(SIZE, json.dumps({"cols": cols, "rows": rows}).encode())

    def expect(self, text, timeout=60):
        """Waits for the text; drops what came up to it."""
        wanted = text.encode()
        self.until(lambda: wanted in self.text, timeout)
        before, self.text = self.text.split(wanted, 1)
        return before.decode()

    def end(self):
        """To the end of the session: the text that was left."""
        self.until(lambda: self.farewell is not None)
        while self.step():
            pass
        return self.text.decode()

    def close(self):
        self.ws.socket.close()

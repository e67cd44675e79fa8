#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stock HTTP/2 client (PyPI: h2) and hand-made frames against a running gateway: client.py PORT CASE [AUTHORITY].

Each case is a function; it prints nothing and ends with 0 when what it wants is so. With the PEM file of an authority its
connections speak TLS, and HTTP/2 must have been agreed on in the handshake (ALPN).
"""
import faulthandler
import gzip
import json
import socket
import ssl
import struct
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
AUTHORITY = sys.argv[3] if len(sys.argv) > 3 else None


def connect(port, *protocols):
    """A connection; over TLS what was agreed on is its `selected_alpn_protocol()`."""
    plain = socket.create_connection(("127.0.0.1", port))
    plain.settimeout(60)
    if AUTHORITY is None:
        return plain
    context = ssl.create_default_context(cafile=AUTHORITY)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context.wrap_socket(plain, server_hostname="test.example")


def connect2(port):
    connection = connect(port, "h2", "http/1.1")
    assert AUTHORITY is None or connection.selected_alpn_protocol() == "h2", connection.selected_alpn_protocol()
    return connection


class Client:
    def __init__(self, port, **checks):
        self.socket = connect2(port)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", **checks))
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.streams = {}
        self.goaways = []
        self.pings = 0
        self.ended = False
        self.flush()

    def settled(self):
        """The server's settings have come."""
        while self.h2.remote_settings.max_concurrent_streams != 100:
            assert self.pump()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def request(self, path="/", method="GET", fields=(), end=True, host="test.example"):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [
            (":method", method), (":scheme", "http"), (":authority", host), (":path", path), *fields], end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        at = 0
        while at < len(data) or end:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0 and at < len(data):
                self.pump()
                continue
            part = data[at:at + room]
            at += len(part)
            last = end and at == len(data)
            self.h2.send_data(stream, part, end_stream=last)
            self.flush()
            if last:
                return

    def state(self, stream):
        return self.streams.setdefault(
            stream, {"head": None, "body": b"", "trailers": None, "done": False, "reset": None, "interim": []})

    def pump(self):
        data = self.socket.recv(1 << 16)
        if not data:
            self.ended = True
            return False
        for event in self.h2.receive_data(data):
            kind = type(event).__name__
            if kind == "InformationalResponseReceived":
                self.state(event.stream_id)["interim"].append(dict(event.headers))
            elif kind == "ResponseReceived":
                self.state(event.stream_id)["head"] = dict(event.headers)
            elif kind == "DataReceived":
                self.state(event.stream_id)["body"] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif kind == "TrailersReceived":
                self.state(event.stream_id)["trailers"] = dict(event.headers)
            elif kind == "StreamEnded":
                self.state(event.stream_id)["done"] = True
            elif kind == "StreamReset":
                self.state(event.stream_id)["reset"] = int(event.error_code)
            elif kind == "ConnectionTerminated":
                self.goaways.append((event.last_stream_id, int(event.error_code)))
            elif kind == "PingReceived":
                self.pings += 1
        self.flush()
        return True

    def answer(self, stream):
        while True:
            state = self.state(stream)
            if state["done"] or state["reset"] is not None:
                return state
            if not self.pump():
                return state

    def get(self, path="/", **rest):
        return self.answer(self.request(path, **rest))


def is_well(port):
    answer = Client(port).get()
    assert answer["head"][":status"] == "200", answer


def get(port):
    client = Client(port)
    for path in ["/a", "/b?q=1"]:
        answer = client.get(path, fields=[("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2")])
        assert answer["head"][":status"] == "200", answer
        text = answer["body"].decode().lower()
        assert text.startswith(f"get {path} http/1.1\r\nhost: test.example\r\n"), text
        assert "cookie: a=1; b=2\r\n" in text, text
        assert "x-forwarded-for: 127.0.0.1\r\n" in text and "weir-deadline: " in text, text
        assert "\r\nte:" not in text and "connection:" not in text and "transfer-encoding" not in text, text
        assert not {"connection", "transfer-encoding", "keep-alive"} & set(answer["head"]), answer["head"]
    head = client.get("/h", method="HEAD")
    assert head["head"][":status"] == "200" and head["body"] == b"" and int(head["head"]["content-length"]) > 0, head


def alpn(port):
    """What is agreed on is what is spoken: the gateway prefers HTTP/2, and who offers nothing means HTTP/1.1."""
    for offered, agreed in [
        (["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["h2"], "h2"), (["http/1.1"], "http/1.1"), ([], None),
    ]:
        connection = connect(port, *offered)
        assert connection.selected_alpn_protocol() == agreed, (offered, connection.selected_alpn_protocol())
        if agreed != "h2":
            connection.sendall(b"GET /a HTTP/1.1\r\nHost: test.example\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 "), offered
    answer = Client(port).get("/a")
    assert b"x-forwarded-proto: https\r\n" in answer["body"].lower(), answer["body"]


def post(port):
    client = Client(port)
    body = bytes(range(256)) * 4000
    stream = client.request("/echo", "POST", [("content-length", str(len(body)))], end=False)
    client.send(stream, body, end=True)
    answer = client.answer(stream)
    assert answer["head"][":status"] == "200" and answer["body"] == body, (answer["head"], len(answer["body"]))


def stream(port):
    """No length, trailers in both directions."""
    client = Client(port)
    for last in [b"", b"the end"]:
        stream = client.request("/echo", "POST", [("te", "trailers")], end=False)
        for _ in range(20):
            client.send(stream, b"x" * 10_000)
        if last:
            client.send(stream, last)
        client.h2.send_headers(stream, [("x-sum", "17")], end_stream=True)
        client.flush()
        answer = client.answer(stream)
        assert answer["head"][":status"] == "200", answer["head"]
        assert answer["body"] == b"x" * 200_000 + last, len(answer["body"])
        assert answer["trailers"] == {"x-sum": "17"}, answer["trailers"]


def keyed(port):
    """With a key: executed once, on two streams at a time too; with a body of unsaid length."""
    client = Client(port)
    streams = [client.request("/orders", "POST", [("idempotency-key", "k")], end=False) for _ in range(3)]
    for stream in streams:
        client.send(stream, b"a ", end=False)
        client.send(stream, b"book", end=True)
    answers = [client.answer(stream) for stream in streams]
    for answer in answers:
        assert answer["head"][":status"] == "201", answer["head"]
        assert answer["body"] == b"order 1 of a book", answer["body"]
    replayed = [answer["head"].get("idempotency-replayed") for answer in answers]
    assert sorted(map(str, replayed)) == ["None", "true", "true"], replayed
    stream = client.request("/orders", "POST", [("idempotency-key", "k"), ("content-length", "5")], end=False)
    client.send(stream, b"a pen", end=True)
    answer = client.answer(stream)
    assert answer["head"][":status"] == "422", answer["head"]
    stream = client.request("/orders", "POST", [("idempotency-key", "k")], end=False)
    client.send(stream, b"a book", end=True)
    answer = client.answer(stream)
    assert answer["body"] == b"order 1 of a book" and answer["head"]["idempotency-replayed"] == "true", answer


def expect(port):
    client = Client(port)
    stream = client.request("/echo", "POST", [("expect", "100-continue"), ("content-length", "2")], end=False)
    while not client.state(stream)["interim"]:
        client.pump()
    client.send(stream, b"hi", end=True)
    answer = client.answer(stream)
    assert answer["interim"][0][":status"] == "100" and answer["body"] == b"hi", answer


def many(port):
    client = Client(port)
    client.settled()
    streams = [client.request(f"/{i}") for i in range(90)]
    for i, stream in enumerate(streams):
        answer = client.answer(stream)
        assert answer["head"][":status"] == "200" and f"get /{i} " in answer["body"].decode().lower(), answer
    for i in range(300):
        assert client.get(f"/{i}")["head"][":status"] == "200"


def large(port):
    """More than any window, read late: nothing is lost, and the other streams go on."""
    client = Client(port)
    stream = client.request("/large")
    assert client.get("/other")["head"][":status"] == "200"
    answer = client.answer(stream)
    assert len(answer["body"]) == 4 << 20, len(answer["body"])


def early(port):
    """An answer before the body is there: whole, and then the client is told to stop."""
    client = Client(port)
    stream = client.request("/nowhere", "POST", host="other.example", end=False)
    answer = client.answer(stream)
    assert answer["head"][":status"] == "404" and b'"reason":"no-route"' in answer["body"], answer
    while client.state(stream)["reset"] is None:
        client.pump()
    assert client.state(stream)["reset"] == h2.errors.ErrorCodes.NO_ERROR, client.state(stream)
    assert client.get()["head"][":status"] == "200"


def cancel(port):
    client = Client(port)
    stream = client.request("/slow")
    while client.state(stream)["head"] is None:
        client.pump()
    client.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
    client.flush()
    assert client.get()["head"][":status"] == "200"


GET = [(":method", "GET"), (":scheme", "http"), (":authority", "test.example"), (":path", "/")]
POST = [(":method", "POST"), (":scheme", "http"), (":authority", "test.example"), (":path", "/")]


def without(name, of=GET):
    return [field for field in of if field[0] != name]


MALFORMED = {
    "no method": without(":method"), "no path": without(":path"), "no scheme": without(":scheme"),
    "no authority": without(":authority"), "empty path": without(":path") + [(":path", "")],
    "path without slash": without(":path") + [(":path", "x")],
    "absolute path": without(":path") + [(":path", "http://test.example/")],
    "path with space": without(":path") + [(":path", "/a b")],
    "path with line end": without(":path") + [(":path", "/ HTTP/1.1\r\nX: y")],
    "method twice": GET + [(":method", "GET")], "unknown pseudo-header": GET + [(":x", "y")],
    "status in a request": GET + [(":status", "200")], "pseudo-header behind a field": [("a", "b")] + GET,
    "method with space": without(":method") + [(":method", "GET /x")],
    "connect": without(":method") + [(":method", "CONNECT")],
    "scheme": without(":scheme") + [(":scheme", "ftp")],
    "authority with userinfo": without(":authority") + [(":authority", "a@test.example")],
    "authority and another host": GET + [("host", "other.example")],
    "upper case": GET + [("X-A", "b")], "space in a name": GET + [("x a", "b")], "colon in a name": GET + [("x:a", "b")],
    "empty name": GET + [("", "b")], "line end in a name": GET + [("x\r\ny", "b")],
    "line end in a value": GET + [("x", "a\r\nhost: b")], "line feed in a value": GET + [("x", "a\nb")],
    "zero in a value": GET + [("x", "a\0b")], "space before a value": GET + [("x", " a")],
    "connection": GET + [("connection", "close")], "keep-alive": GET + [("keep-alive", "1")],
    "proxy-connection": GET + [("proxy-connection", "close")], "upgrade": GET + [("upgrade", "h2c")],
    "transfer-encoding": POST + [("transfer-encoding", "chunked")], "te": GET + [("te", "gzip")],
    "content-length twice": POST + [("content-length", "0"), ("content-length", "0")],
    "content-length signed": POST + [("content-length", "+0")],
    "content-length without a body": POST + [("content-length", "5")],
}


def raw_fields(fields):
    """The fields as they are, literally, without any table: no encoder stands in the way."""
    out = b""
    for name, value in fields:
        name, value = name.encode(), value.encode()
        assert len(name) < 127 and len(value) < 127
        out += b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return out


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Raw:
    """Frames by hand."""

    def __init__(self, port):
        self.socket = connect2(port)
        self.decoder = hpack.Decoder()
        self.send(PREFACE + frame(4, 0, 0))

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass

    def exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                part = b""
            if not part:
                return None
            data += part
        return data

    def frames(self):
        """(kind, flags, stream, payload), to the end of the connection."""
        while head := self.exactly(9):
            payload = self.exactly(int.from_bytes(head[:3], "big"))
            if payload is None:
                return
            yield head[3], head[4], int.from_bytes(head[5:], "big") & 0x7fffffff, payload

    def outcome(self, stream=1):
        """What became of a stream: a status, `reset N`, `goaway N`, or `closed`."""
        for kind, _, number, payload in self.frames():
            if kind == 1 and number == stream:
                return int(dict(self.decoder.decode(payload))[":status"])
            if kind == 3 and number == stream:
                return f"reset {int.from_bytes(payload, 'big')}"
            if kind == 7 and int.from_bytes(payload[4:8], "big") != 0:
                return f"goaway {int.from_bytes(payload[4:8], 'big')}"
        return "closed"

    def goaway(self):
        """The error of the GOAWAY that ends the connection; None when it just ends."""
        error = None
        for kind, _, _, payload in self.frames():
            if kind == 7:
                error = int.from_bytes(payload[4:8], "big")
        return error


def malformed(port):
    for name, fields in MALFORMED.items():
        raw = Raw(port)
        raw.send(frame(1, 5, 1, raw_fields(fields)))
        outcome = raw.outcome()
        if name == "empty name":
            # The decoder of fields refuses it, and has lost its table.
            assert outcome == "goaway 9", outcome
            continue
        assert outcome == "reset 1", (name, outcome)
        # The connection goes on.
        raw.send(frame(1, 5, 3, raw_fields(GET)))
        outcome = raw.outcome(3)
        assert outcome == 200, (name, outcome)


def downgrade(port):
    """What a reader of HTTP/1.1 could take apart in two ways: refused by the scanner that reads all requests."""
    for path in ["/a/../b", "/%2e%2e/x", "//x", "/a\\b", "/a%2fb", "/%00"]:
        raw = Raw(port)
        raw.send(frame(1, 5, 1, raw_fields(without(":path") + [(":path", path)])))
        assert raw.outcome() == 400, path
    for fields in [("content_length", "5"), ("transfer_encoding", "chunked"), ("x_forwarded_for", "1.2.3.4")]:
        raw = Raw(port)
        raw.send(frame(1, 5, 1, raw_fields(GET + [fields])))
        assert raw.outcome() == 400, fields
    # More data than declared, and less.
    for length, data in [(3, b"GET /smuggled HTTP/1.1\r\n\r\n"), (30, b"abc")]:
        raw = Raw(port)
        raw.send(frame(1, 4, 1, raw_fields(POST + [("content-length", str(length))])) + frame(0, 1, 1, data))
        assert raw.outcome() == "reset 1", length
    # Data that looks like the end of a chunked body stays data.
    client = Client(port)
    stream = client.request("/echo", "POST", end=False)
    data = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    client.send(stream, data, end=True)
    assert client.answer(stream)["body"] == data
    # Trailers that belong into a head, and pseudo-headers in trailers.
    for trailer in [("content-length", "5"), ("host", "a"), ("transfer-encoding", "chunked"), (":path", "/x")]:
        raw = Raw(port)
        raw.send(frame(1, 4, 1, raw_fields(POST)) + frame(0, 0, 1, b"x") + frame(1, 5, 1, raw_fields([trailer])))
        assert raw.outcome() == "reset 1", trailer


def too_large(port):
    client = Client(port)
    client.settled()
    answer = client.get(fields=[(f"x-{i}", "y" * 900) for i in range(40)])
    assert answer["head"][":status"] == "431", answer
    answer = client.get(fields=[(f"x-{i}", "y") for i in range(120)])
    assert answer["head"][":status"] == "431", answer
    assert client.get()["head"][":status"] == "200"


def calm(raw, what):
    error = raw.goaway()
    assert error == 11, (what, error)


def floods(port):
    # CVE-2023-44487: requests that are reset at once.
    raw = Raw(port)
    for i in range(1000):
        raw.send(frame(1, 5, 2 * i + 1, raw_fields(GET)) + frame(3, 0, 2 * i + 1, struct.pack(">I", 8)))
    calm(raw, "rapid reset")
    # CVE-2025-8671: the same by having us reset.
    raw = Raw(port)
    for i in range(1000):
        raw.send(frame(1, 5, 2 * i + 1, raw_fields(without(":path"))))
    calm(raw, "made to reset")
    # CVE-2019-9512, -9515.
    raw = Raw(port)
    raw.send(frame(6, 0, 0, b"12345678") * 2000)
    calm(raw, "ping")
    raw = Raw(port)
    raw.send(frame(4, 0, 0) * 2000)
    calm(raw, "settings")
    # CVE-2024-27316: a head without an end.
    raw = Raw(port)
    raw.send(frame(1, 0, 1, raw_fields(GET)) + frame(9, 0, 1, raw_fields([("x", "y" * 100)])) * 2000)
    assert raw.goaway() is not None, "continuation"
    # CVE-2019-9518.
    raw = Raw(port)
    raw.send(frame(1, 4, 1, raw_fields(POST)) + frame(0, 0, 1) * 200)
    calm(raw, "empty data")
    is_well(port)


def too_many(port):
    raw = Raw(port)
    for i in range(101):
        raw.send(frame(1, 4, 2 * i + 1, raw_fields(POST)))
    outcome = raw.outcome(201)
    assert outcome in ("reset 7", "goaway 1", "goaway 7"), outcome
    is_well(port)


def broken(port):
    """Connection errors (RFC 9113 §5.4.1): a GOAWAY that says which."""
    for name, data, codes in [
        ("settings with a length that is none", frame(4, 0, 0, b"123"), [6]),
        ("settings on a stream", frame(4, 0, 1), [1]),
        ("ping with seven bytes", frame(6, 0, 0, b"1234567"), [6]),
        ("data on stream 0", frame(0, 0, 0, b"x"), [1]),
        # NIO closes without a word here.
        ("data on a stream that is idle", frame(0, 0, 1, b"x"), [1, None]),
        ("window update of 0", frame(8, 0, 0, struct.pack(">I", 0)), [1]),
        ("an even stream", frame(1, 5, 2, raw_fields(GET)), [1]),
        ("a stream that goes back", frame(1, 5, 5, raw_fields(GET)) + frame(1, 5, 3, raw_fields(GET)), [1, 5]),
        ("a second head behind a stream's end", frame(1, 5, 1, raw_fields(GET)) * 2, [5]),
        ("data behind a stream's end", frame(1, 5, 1, raw_fields(GET)) + frame(0, 1, 1, b"x"), [5]),
        ("continuation of nothing", frame(9, 4, 1, b""), [1]),
        ("a frame within a head", frame(1, 0, 1, raw_fields(GET)) + frame(6, 0, 0, b"12345678"), [1]),
        ("a frame too large", frame(0, 0, 1, b"x" * 20_000), [6, 1]),
        ("a table that is none", frame(1, 5, 1, b"\xff\xff\xff"), [9, 1]),
        ("push by a client", frame(5, 4, 1, b"\0\0\0\2"), [1]),
    ]:
        raw = Raw(port)
        raw.send(data)
        try:
            error = raw.goaway()
        except TimeoutError:
            error = "left open"
        assert error in codes, (name, error)
    is_well(port)


def slow_preface(port):
    raw = socket.create_connection(("127.0.0.1", port))
    raw.settimeout(60)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    whole = PREFACE + frame(4, 0, 0) + frame(1, 5, 1, raw_fields(GET))
    for i in range(len(whole)):
        raw.sendall(whole[i:i + 1])
    client = Raw.__new__(Raw)
    client.socket, client.decoder = raw, hpack.Decoder()
    assert client.outcome() == 200
    # What only begins like it is refused as HTTP/1.1.
    raw = socket.create_connection(("127.0.0.1", port))
    raw.settimeout(60)
    raw.sendall(b"PRI * HTTP/2.0\r\n\r\nXX")
    assert raw.recv(100).startswith(b"HTTP/1.1 400"), "what is no preface"


def drain(port):
    """Two GOAWAYs: a stream that was on its way between them is still served."""
    raw = Raw(port)
    raw.send(frame(1, 5, 1, raw_fields(without(":path") + [(":path", "/slow")])))
    seen, lasts = {}, []
    for kind, flags, stream, payload in raw.frames():
        if kind == 4 and flags == 0:
            print("open", flush=True)
        elif kind == 1:
            seen[stream] = dict(raw.decoder.decode(payload))[":status"]
        elif kind == 7:
            lasts.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
        elif kind == 6 and flags == 0:
            raw.send(frame(1, 5, 3, raw_fields(GET)) + frame(6, 1, 0, payload))
    assert lasts == [(2**31 - 1, 0), (3, 0)], lasts
    assert seen == {1: "200", 3: "200"}, seen


def edge(port):
    """What the gateway does by itself: answers, files, composed answers, CORS, compression."""
    client = Client(port)
    answer = client.get("/robots.txt")
    assert answer["head"][":status"] == "200" and answer["body"] == b"all", answer
    head = client.get("/robots.txt", method="HEAD")
    assert head["head"]["content-length"] == "3" and head["body"] == b"", head
    home = client.get("/home")
    assert json.loads(home["body"]) == {"a": [1]}, home
    assert "b omitted" in home["head"]["proxy-status"], home
    packed = client.get("/api/x", fields=[("accept-encoding", "gzip"), ("origin", "https://shop.example")])
    assert packed["head"]["content-encoding"] == "gzip" and "content-length" not in packed["head"], packed["head"]
    assert gzip.decompress(packed["body"]).startswith(b"not all those who wander"), packed
    assert packed["head"]["access-control-allow-origin"] == "https://shop.example", packed["head"]
    asked = client.get("/api/x", method="OPTIONS", fields=[
        ("origin", "https://shop.example"), ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-trace")])
    assert asked["head"][":status"] == "204", asked
    assert asked["head"]["access-control-allow-headers"] == "x-trace", asked
    file = client.get("/files/big.bin")
    assert len(file["body"]) == 2 << 20, len(file["body"])
    part = client.get("/files/big.bin", fields=[("range", "bytes=5-9")])
    assert part["head"][":status"] == "206" and part["body"] == file["body"][5:10], part
    assert client.get("/files/%2e%2e/x")["head"][":status"] in ("400", "404")
    # Several at the same time, on one connection.
    streams = [client.request(path) for path in ["/files/big.bin", "/home", "/robots.txt"] * 4]
    for stream in streams:
        assert client.answer(stream)["head"][":status"] == "200", stream


if __name__ == "__main__":
    # One that hangs says where.
    faulthandler.dump_traceback_later(100, exit=True)
    globals()[sys.argv[2]](int(sys.argv[1]))

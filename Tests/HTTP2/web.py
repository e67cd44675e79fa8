#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of gRPC-Web, by hand, over HTTP/1.1 and HTTP/2, and the stock one of PyPI (sonora): web.py PORT CASE [AUTHORITY].

The server is that of rpc.py. Each case ends with 0 when what it wants is so; with the PEM file of an authority it speaks TLS.
"""
import base64
import faulthandler
import os
import re
import socket
import struct
import sys

import client as stock

BINARY = "application/grpc-web+proto"
TEXT = "application/grpc-web-text+proto"


def frame(message):
    return struct.pack(">BI", 0, len(message)) + message


def untext(body):
    """Pieces of base64, each padded for itself."""
    assert re.fullmatch(rb"[A-Za-z0-9+/=]*", body) and len(body) % 4 == 0, body[:100]
    return b"".join(base64.b64decode(body[i:i + 4], validate=True) for i in range(0, len(body), 4))


def unframe(body):
    """Messages, and the trailers, which come last."""
    messages, at, trailers = [], 0, None
    while at < len(body):
        assert trailers is None, "something behind the trailers"
        flags, length = struct.unpack(">BI", body[at:at + 5])
        part = body[at + 5:at + 5 + length]
        assert len(part) == length, (len(part), length)
        at += 5 + length
        if flags & 0x80:
            trailers = dict(line.split(": ", 1) for line in part.decode().split("\r\n") if line)
        else:
            messages.append(part)
    assert trailers is not None, body[:100]
    return messages, trailers


class Answer:
    def __init__(self, status, head, body, kind):
        self.status, self.head, self.raw = status, head, body
        assert status == 200, (status, head, body[:200])
        assert head["content-type"] == kind, head
        assert not {"grpc-status", "grpc-message"} & set(head), head
        self.messages, self.trailers = unframe(untext(body) if "-text" in kind else body)

    def ok(self):
        assert self.trailers["grpc-status"] == "0", self.trailers
        return self.messages


class One:
    """One connection of HTTP/1.1."""

    def __init__(self, port):
        self.socket = stock.connect(port)
        self.file = self.socket.makefile("rb")

    def send(self, method, pieces, kind, fields=(), host="test.example", length=True, version="1.1"):
        """`pieces` of a body; in chunks when its length is not told."""
        size = sum(map(len, pieces))
        framing = [("content-length", str(size))] if length else [("transfer-encoding", "chunked")]
        head = [f"POST /test.Echo/{method} HTTP/{version}", f"host: {host}", f"content-type: {kind}", "x-grpc-web: 1"]
        head += [f"{name}: {value}" for name, value in [*framing, *fields]]
        self.socket.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
        for piece in pieces:
            self.socket.sendall(piece if length else b"%x\r\n%s\r\n" % (len(piece), piece))
        if not length:
            self.socket.sendall(b"0\r\n\r\n")

    def head(self):
        status = int(self.file.readline().split()[1])
        head = {}
        while line := self.file.readline().strip().decode():
            name, _, value = line.partition(":")
            assert name.lower() not in head, line
            head[name.lower()] = value.strip()
        return status, head

    def chunk(self):
        """The next chunk; empty at the end."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.readline() == b"\r\n"
        return data

    def body(self, head):
        if "content-length" in head:
            return self.file.read(int(head["content-length"]))
        if head.get("transfer-encoding") != "chunked":
            return self.file.read()
        body = b""
        while part := self.chunk():
            body += part
        return body

    def call(self, method, message=b"", kind=BINARY, answered=None, pieces=None, **rest):
        body = frame(message)
        if pieces is None:
            pieces = [base64.b64encode(body) if "-text" in kind else body]
        self.send(method, pieces, kind, **rest)
        status, head = self.head()
        return Answer(status, head, self.body(head), answered or kind)


class Two:
    """One connection of HTTP/2."""

    def __init__(self, port):
        self.client = stock.Client(port)

    def call(self, method, message=b"", kind=BINARY, fields=(), host="test.example", answered=None):
        body = frame(message)
        body = base64.b64encode(body) if "-text" in kind else body
        stream = self.client.request(
            f"/test.Echo/{method}", "POST", [("content-type", kind), *fields], end=False, host=host)
        self.client.send(stream, body, end=True)
        state = self.client.answer(stream)
        head = dict(state["head"])
        assert state["done"] and not state["trailers"], state["trailers"]
        return Answer(int(head[":status"]), head, state["body"], answered or kind)


def kinds(port):
    """Unary and server streaming, both encodings, both protocols, several calls along one connection."""
    for connection in [One(port), Two(port)]:
        for kind in [BINARY, TEXT]:
            assert connection.call("Unary", b"hello", kind).ok() == [b"one:hello"]
            assert connection.call("Count", b"300", kind).ok() == [str(i).encode() for i in range(300)]
            assert connection.call("Unary", b"", kind).ok() == [b"one:"]
    large = bytes(range(256)) * 4096
    for kind in [BINARY, TEXT]:
        assert One(port).call("Unary", large, kind).ok() == [b"one:" + large]
        assert Two(port).call("Unary", large, kind).ok() == [b"one:" + large]


def over_tls(port):
    for connection in [One(port), Two(port)]:
        for kind in [BINARY, TEXT]:
            assert connection.call("Unary", b"hello", kind).ok() == [b"one:hello"]
            assert connection.call("Fail", b"NOT_FOUND:no", kind).trailers["grpc-status"] == "5"


def metadata(port):
    for connection in [One(port), Two(port)]:
        answer = connection.call("Metadata", fields=[("x-a", "1"), ("accept", TEXT)], answered=TEXT)
        assert answer.ok() == [b"x-a"], answer.messages
        assert answer.head["x-first"] == "1", answer.head
        assert answer.trailers["x-last"] == "2" and base64.b64decode(answer.trailers["x-bin"] + "==") == b"\0\1\2"
        # What the answer is like is what the client can read, whatever it has sent.
        answer = connection.call("Unary", b"a", TEXT, fields=[("accept", f"text/html, {BINARY}")], answered=BINARY)
        assert answer.ok() == [b"one:a"]


def statuses(port):
    """A call that fails in its head, and one that fails behind a message: the same for its client."""
    for connection in [One(port), Two(port)]:
        for kind in [BINARY, TEXT]:
            for code, number in [("NOT_FOUND", "5"), ("INVALID_ARGUMENT", "3")]:
                answer = connection.call("Fail", f"{code}:said so".encode(), kind)
                assert (answer.messages, answer.trailers["grpc-status"]) == ([], number), answer.trailers
                assert answer.trailers["grpc-message"] == "said so", answer.trailers
            answer = connection.call("FailLate", b"", kind)
            assert answer.messages == [b"first"] and answer.trailers["grpc-status"] == "14", answer.trailers
            assert connection.call("None", b"", kind).trailers["grpc-status"] == "12"


def pieces(port):
    """Text comes in pieces: cut anywhere, padded in the middle, in chunks of HTTP or not."""
    whole = frame(b"hello, world")
    padded = base64.b64encode(whole[:4]) + base64.b64encode(whole[4:5]) + base64.b64encode(whole[5:])
    assert padded.count(b"=") >= 4, padded
    single = [padded[i:i + 1] for i in range(len(padded))]
    connection = One(port)
    for body in [[padded], single, [padded[:7], padded[7:]]]:
        for length in [True, False]:
            answer = connection.call("Unary", kind=TEXT, pieces=body, length=length)
            assert answer.ok() == [b"one:hello, world"], answer.messages
    # Binary in chunks stays as it is.
    answer = connection.call("Unary", pieces=[whole[:3], whole[3:]], length=False)
    assert answer.ok() == [b"one:hello, world"]
    # What is no base64 is refused; the connection ends, for nobody knows what follows.
    for wrong in [b"AAAA*AAA", b"AAAAB", b"=AAA"]:
        for length in [True, False]:
            answer = One(port).call("Unary", kind=TEXT, pieces=[wrong], length=length)
            assert answer.trailers["grpc-status"] == "13" and "bad-request" in answer.head["proxy-status"], answer.head
            assert "base64" in answer.trailers["grpc-message"], answer.trailers
    # A client of HTTP/1.0 gets a body that ends with the connection.
    answer = One(port).call("Unary", b"old", version="1.0")
    assert answer.ok() == [b"one:old"] and "transfer-encoding" not in answer.head, answer.head


def streams(port):
    """A message is there before the next one is made; a client that leaves ends the call."""
    connection = One(port)
    connection.send("Count", [frame(b"100000")], BINARY)
    status, head = connection.head()
    assert status == 200 and head["transfer-encoding"] == "chunked", head
    assert connection.chunk().startswith(frame(b"0"))
    connection.socket.close()


def deadline(port):
    for connection in [One(port), Two(port)]:
        left = float(connection.call("Left", fields=[("grpc-timeout", "60S")]).ok()[0])
        assert 30 < left <= 60, left
        assert connection.call("Left").ok() == [b"none"]
        answer = connection.call("Wait", fields=[("grpc-timeout", "500m")])
        assert answer.trailers["grpc-status"] == "4" and "deadline-passed" in answer.head["proxy-status"], answer.head
        answer = connection.call("Left", fields=[("grpc-timeout", "soon")])
        assert answer.trailers["grpc-status"] == "13" and "bad-request" in answer.head["proxy-status"], answer.head


def plain(port):
    """What is no call of gRPC-Web is what it was, along the same connection: before, between and behind such calls."""
    connection = One(port)
    for _ in range(2):
        connection.call("Unary", b"a").ok()
        connection.socket.sendall(b"GET /nothing HTTP/1.1\r\nhost: other.example\r\n\r\n")
        status, head = connection.head()
        assert status == 404 and head["content-type"] == "application/problem+json", head
        assert b"no-route" in connection.body(head)
    two = Two(port)
    two.call("Unary", b"a").ok()
    assert two.client.get("/nothing", host="other.example")["head"][":status"] == "404"


def refused(port):
    """Our own refusals are gRPC-Web's, where a page can read them."""
    for connection in [One(port), Two(port)]:
        for kind in [BINARY, TEXT]:
            answer = connection.call("Unary", b"", kind, host="other.example")
            assert answer.trailers["grpc-status"] == "12" and answer.messages == [], answer.trailers
            assert answer.trailers["grpc-message"] == "Nothing is served at this address.", answer.trailers
            assert "no-route" in answer.head["proxy-status"], answer.head
    connection = One(port)
    connection.socket.sendall(
        b"POST /test.Echo/Unary HTTP/1.1\r\nhost: test.example\r\ncontent-type: application/grpc-web\r\n"
        b"content-length: 99999999999\r\n\r\n")
    status, head = connection.head()
    answer = Answer(status, head, connection.body(head), "application/grpc-web")
    assert answer.trailers["grpc-status"] == "8" and "body-too-large" in head["proxy-status"], head


def unavailable(port):
    for kind in [BINARY, TEXT]:
        answer = One(port).call("Unary", b"a", kind, fields=[("origin", "https://shop.example")])
        assert answer.trailers["grpc-status"] == "14" and "connect-failed" in answer.head["proxy-status"], answer.head
        assert answer.head["access-control-allow-origin"] == "https://shop.example", answer.head


def breaks(port):
    """Failures that only the trailers tell open the breaker; then it is said so."""
    connection = One(port)
    for _ in range(40):
        answer = connection.call("Fail", b"INTERNAL:x", TEXT)
        if answer.trailers["grpc-status"] == "14":
            assert "breaker-open" in answer.head["proxy-status"], answer.head
            assert int(answer.trailers["grpc-retry-pushback-ms"]) > 0, answer.trailers
            return
        assert answer.trailers["grpc-status"] == "13", answer.trailers
    raise AssertionError("40 failures and no breaker")


def untranslated(port):
    """Where a route leaves gRPC-Web alone, the server is asked what the client has written, and does not know it."""
    connection = One(port)
    connection.send("Unary", [frame(b"a")], BINARY)
    status, head = connection.head()
    assert status in (415, 502) and not head.get("content-type", "").startswith("application/grpc-web"), (status, head)


def sonora(port):
    import grpc
    import sonora.client
    with sonora.client.insecure_web_channel(f"http://127.0.0.1:{port}") as channel:
        same = lambda message: message
        name = [("host", "test.example")]
        call = channel.unary_unary("/test.Echo/Unary", same, same)
        assert call(b"hello", timeout=60, metadata=name) == b"one:hello"
        count = channel.unary_stream("/test.Echo/Count", same, same)
        assert list(count(b"50", timeout=60, metadata=name)) == [str(i).encode() for i in range(50)]
        try:
            list(channel.unary_stream("/test.Echo/FailLate", same, same)(b"", timeout=60, metadata=name))
            raise AssertionError("did not fail")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE and error.details() == "later", error


if __name__ == "__main__":
    faulthandler.dump_traceback_later(100, exit=True)
    globals()[sys.argv[2]](int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)

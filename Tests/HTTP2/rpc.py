#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gRPC's stock server and client (PyPI: grpcio), without generated code: messages are bytes.

rpc.py serve NAME              serves on a free port, which it prints first, then each call's end; its health is what
                               /test.Echo/Health was told last, in words of gRPC's health checking, for `test.Echo` only
rpc.py PORT CASE               a client; ends with 0 when what the case wants is so
"""
import faulthandler
import os
import sys
import threading
import time
from concurrent import futures

import grpc


def serve(name):
    def unary(request, context):
        return name.encode() + b":" + request

    def left(_, context):
        remaining = context.time_remaining()
        # Without a deadline grpcio says a time that is longer than anybody's life.
        return b"none" if remaining is None or remaining > 1e9 else str(remaining).encode()

    def fail(request, context):
        code, _, text = request.decode().partition(":")
        context.abort(grpc.StatusCode[code], text or "as asked")

    def fail_late(requests, context):
        yield b"first"
        context.abort(grpc.StatusCode.UNAVAILABLE, "later")

    def collect(requests, context):
        return str(sum(len(r) for r in requests)).encode()

    def count(request, context):
        for i in range(int(request)):
            yield str(i).encode()

    def echo(requests, context):
        for request in requests:
            yield b"<" + request + b">"

    def wait(request, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        print("waiting", flush=True)
        gone.wait(20)
        print("gone", flush=True)
        return b"late"

    def metadata(request, context):
        got = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-first", "1")])
        context.set_trailing_metadata([("x-last", "2"), ("x-bin", b"\0\1\2")])
        return ",".join(sorted(k for k in got if k in ("x-a", "te", "grpc-timeout", "connection"))).encode()

    health = ["SERVING"]

    def set_health(request, context):
        health[0] = request.decode()
        return name.encode()

    def check(request, context):
        """HealthCheckRequest has the service's name in field 1, HealthCheckResponse the status in field 1."""
        if request != b"\x0a\x09test.Echo":
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        if health[0] not in ("UNKNOWN", "SERVING", "NOT_SERVING"):
            context.abort(grpc.StatusCode[health[0]], "as told")
        number = ("UNKNOWN", "SERVING", "NOT_SERVING").index(health[0])
        return bytes([8, number]) if number else b""

    handlers = {
        "Health": grpc.unary_unary_rpc_method_handler(set_health),
        "Unary": grpc.unary_unary_rpc_method_handler(unary), "Left": grpc.unary_unary_rpc_method_handler(left),
        "Fail": grpc.unary_unary_rpc_method_handler(fail), "FailLate": grpc.stream_stream_rpc_method_handler(fail_late),
        "Collect": grpc.stream_unary_rpc_method_handler(collect), "Count": grpc.unary_stream_rpc_method_handler(count),
        "Echo": grpc.stream_stream_rpc_method_handler(echo), "Wait": grpc.unary_unary_rpc_method_handler(wait),
        "Metadata": grpc.unary_unary_rpc_method_handler(metadata),
    }
    server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers([
        grpc.method_handlers_generic_handler("test.Echo", handlers),
        grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def channel(port):
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=[
        ("grpc.default_authority", "test.example"), ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.max_send_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)])


def fails(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("did not fail")


def kinds(port):
    """Unary, client, server and both-way streaming."""
    c = channel(port)
    assert c.unary_unary("/test.Echo/Unary")(b"hello", timeout=20).endswith(b":hello")
    assert c.stream_unary("/test.Echo/Collect")(iter([b"x" * 1000] * 100), timeout=20) == b"100000"
    assert [int(m) for m in c.unary_stream("/test.Echo/Count")(b"500", timeout=20)] == list(range(500))
    # One at a time: each answer is there before the next request goes out.
    turn = threading.Semaphore(0)

    def requests():
        for i in range(50):
            yield str(i).encode()
            turn.acquire(timeout=20)

    seen = []
    for message in c.stream_stream("/test.Echo/Echo")(requests(), timeout=20):
        seen.append(message)
        turn.release()
    assert seen == [f"<{i}>".encode() for i in range(50)], seen


def large(port):
    """Messages beyond every window, in both directions."""
    c = channel(port)
    message = bytes(range(256)) * (16 << 10)
    assert c.unary_unary("/test.Echo/Unary")(message, timeout=30).endswith(message)
    sent = c.stream_unary("/test.Echo/Collect")(iter([b"y" * (1 << 20)] * 24), timeout=30)
    assert int(sent) == 24 << 20, sent


def metadata(port):
    call = channel(port).unary_unary("/test.Echo/Metadata").with_call
    answer, done = call(b"", timeout=20, metadata=[("x-a", "1")])
    assert answer == b"x-a", answer
    assert dict(done.initial_metadata()).get("x-first") == "1", done.initial_metadata()
    last = dict(done.trailing_metadata())
    assert last.get("x-last") == "2" and last.get("x-bin") == b"\0\1\2", last
    assert not {"connection", "transfer-encoding"} & set(dict(done.initial_metadata())), done.initial_metadata()


def statuses(port):
    c = channel(port)
    for code in ["NOT_FOUND", "PERMISSION_DENIED", "INVALID_ARGUMENT", "ABORTED"]:
        error = fails(lambda: c.unary_unary("/test.Echo/Fail")(f"{code}:said so".encode(), timeout=20))
        assert error.code() == grpc.StatusCode[code] and error.details() == "said so", error
    error = fails(lambda: list(c.stream_stream("/test.Echo/FailLate")(iter([b"a"]), timeout=20)))
    assert error.code() == grpc.StatusCode.UNAVAILABLE and error.details() == "later", error
    assert fails(lambda: c.unary_unary("/test.Echo/None")(b"", timeout=20)).code() == grpc.StatusCode.UNIMPLEMENTED


def deadline(port):
    c = channel(port)
    left = float(c.unary_unary("/test.Echo/Left")(b"", timeout=60))
    # What the way there has taken is missing: on a busy machine that is seconds.
    assert 30 < left <= 60, left
    assert c.unary_unary("/test.Echo/Left")(b"") == b"none"
    began = time.monotonic()
    error = fails(lambda: c.unary_unary("/test.Echo/Wait")(b"", timeout=0.5))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - began < 15, error


def cancel(port):
    call = channel(port).unary_unary("/test.Echo/Wait").future(b"")
    print("called", flush=True)
    sys.stdin.readline()
    call.cancel()


def spread(port):
    """One connection, and every call finds its own instance."""
    c = channel(port)
    seen = {}
    for _ in range(90):
        name = c.unary_unary("/test.Echo/Unary")(b"", timeout=20).partition(b":")[0]
        seen[name] = seen.get(name, 0) + 1
    # How many each gets is the balancer's: one that was slow once is asked less.
    assert len(seen) == 3, seen


def tell(port, word):
    """Says to a server, reached directly, what its health is from now on."""
    channel(port).unary_unary("/test.Echo/Health")(word.encode(), timeout=20)


def only(port, name):
    """All calls find one instance."""
    c = channel(port)
    seen = {c.unary_unary("/test.Echo/Unary")(b"", timeout=20).partition(b":")[0].decode() for _ in range(30)}
    assert seen == {name}, seen


def together(port):
    """More calls at the same time than one connection has streams."""
    channels = [channel(port) for _ in range(3)]
    calls = [channels[i % 3].unary_unary("/test.Echo/Unary").future(str(i).encode(), timeout=30) for i in range(240)]
    for i, call in enumerate(calls):
        assert call.result().endswith(f":{i}".encode())


def refused(port):
    """Our own refusals are gRPC's."""
    c = grpc.insecure_channel(f"127.0.0.1:{port}", options=[
        ("grpc.default_authority", "other.example"), ("grpc.enable_retries", 0)])
    error = fails(lambda: c.unary_unary("/test.Echo/Unary")(b"", timeout=20))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    assert error.details() == "Nothing is served at this address.", error
    trailers = dict(error.trailing_metadata())
    assert "no-route" in trailers.get("proxy-status", ""), trailers


def unavailable(port):
    error = fails(lambda: channel(port).unary_unary("/test.Echo/Unary")(b"", timeout=20))
    assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    assert "proxy-status" in dict(error.trailing_metadata()), error


def breaks(port):
    """Failures that only `grpc-status` tells open the breaker; then it is said so."""
    c = channel(port)
    for _ in range(40):
        error = fails(lambda: c.unary_unary("/test.Echo/Fail")(b"INTERNAL:x", timeout=20))
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            assert "breaker-open" in dict(error.trailing_metadata())["proxy-status"], error
            return
        assert error.code() == grpc.StatusCode.INTERNAL, error
    raise AssertionError("40 failures and no breaker")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        # One that hangs says where.
        faulthandler.dump_traceback_later(100, exit=True)
        globals()[sys.argv[2]](int(sys.argv[1]), *sys.argv[3:])
        # Past the interpreter's own end, which waits for threads of grpcio.
        sys.stdout.flush()
        os._exit(0)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A link of a chain of services, and the callers at its end; the standard library only.

    chain.py serve --port P [--next NAME] [--pass] [--fail 503] [--takes 0.02]
        Answers every request: with --next as $WEIR_URL/call/NAME answers it, else with 200 or the status of --fail.
        --pass hands the fields on by which Weir tells of deadlines and retries. GET /counts: what it was asked and asked.
    chain.py press --port P --at-once N --seconds S
        N callers, each asks, waits for the answer, rests 10 ms, asks again. They come from many addresses of 127/8, for
        one address may hold only so many connections. Prints { offered, statuses, lost } as JSON.
"""

import argparse
import asyncio
import collections
import json
import os
import resource
import sys
import urllib.parse

REST = 0.01
CALLERS_AN_ADDRESS = 50
PASSED = (b"traceparent", b"weir-deadline", b"weir-retries")


class Head:
    """The head of a request or an answer, and what follows it."""

    def __init__(self, data):
        end = data.index(b"\r\n\r\n")
        lines = data[:end].split(b"\r\n")
        self.first = lines[0].split(b" ", 2)
        self.fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            self.fields[name.lower()] = value.strip()
        self.ends = end + 4
        self.length = int(self.fields.get(b"content-length", b"0"))


class Server(asyncio.Protocol):
    """Requests one after the other; bodies are skipped."""

    def __init__(self, link):
        self.link = link
        self.data = b""
        self.waiting = collections.deque()
        self.turn = None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        if self.turn:
            self.turn.cancel()

    def data_received(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:
            head = Head(self.data)
            if len(self.data) < head.ends + head.length:
                break
            self.data = self.data[head.ends + head.length :]
            self.waiting.append(head)
        if self.waiting and self.turn is None:
            self.turn = asyncio.ensure_future(self.answer())

    async def answer(self):
        try:
            while self.waiting:
                head = self.waiting.popleft()
                path = head.first[1]
                if path == b"/healthz":
                    status, body = 200, b""
                elif path == b"/counts":
                    status, body = 200, json.dumps(self.link.counts).encode()
                else:
                    status, body = await self.link.answer(head), b""
                self.transport.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
                if head.fields.get(b"connection", b"").lower() == b"close":
                    self.transport.close()
        finally:
            self.turn = None


class Caller(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self):
        self.data = b""
        self.reply = None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        self.transport = None
        if self.reply and not self.reply.done():
            self.reply.set_exception(ConnectionError("the answer never came"))

    def data_received(self, data):
        self.data += data
        if b"\r\n\r\n" not in self.data:
            return
        head = Head(self.data)
        if len(self.data) < head.ends + head.length:
            return
        self.data = self.data[head.ends + head.length :]
        if head.fields.get(b"connection", b"").lower() == b"close":
            self.transport.close()
            self.transport = None
        if self.reply and not self.reply.done():
            self.reply.set_result(int(head.first[1]))

    async def ask(self, request):
        self.reply = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.reply


class Link:
    def __init__(self, options):
        self.options = options
        self.counts = {"asked": 0, "made": 0}
        self.idle = []
        if options.next:
            url = urllib.parse.urlsplit(os.environ["WEIR_URL"])
            self.host, self.port = url.hostname, url.port
            self.head = f"GET {url.path.rstrip('/')}/call/{options.next}/ HTTP/1.1\r\nhost: {url.netloc}\r\n".encode()

    async def answer(self, head):
        self.counts["asked"] += 1
        if self.options.takes:
            await asyncio.sleep(self.options.takes)
        if not self.options.next:
            return self.options.fail or 200
        request = self.head
        if self.options.hands_on:
            for name in PASSED:
                if name in head.fields:
                    request += name + b": " + head.fields[name] + b"\r\n"
        self.counts["made"] += 1
        caller = self.idle.pop() if self.idle else None
        try:
            if caller is None or caller.transport is None:
                _, caller = await asyncio.get_running_loop().create_connection(Caller, self.host, self.port)
            status = await caller.ask(request + b"\r\n")
        except OSError:
            return 502
        if caller.transport:
            self.idle.append(caller)
        return status


async def serve(options):
    link = Link(options)
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(link), "127.0.0.1", options.port, backlog=4096)
    await server.serve_forever()


async def press(options):
    loop = asyncio.get_running_loop()
    report = {"offered": 0, "lost": 0, "statuses": collections.Counter()}
    end = loop.time() + options.seconds
    request = f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{options.port}\r\n\r\n".encode()

    async def one(number):
        place = number // CALLERS_AN_ADDRESS
        address = (f"127.1.{place // 250}.{place % 250 + 1}", 0)
        caller = None
        while loop.time() < end:
            try:
                if caller is None or caller.transport is None:
                    _, caller = await loop.create_connection(Caller, "127.0.0.1", options.port, local_addr=address)
                report["offered"] += 1
                report["statuses"][await asyncio.wait_for(caller.ask(request), 30)] += 1
            except (OSError, TimeoutError, asyncio.TimeoutError):
                report["lost"] += 1
                caller = None
            await asyncio.sleep(REST)

    await asyncio.gather(*(one(i) for i in range(options.at_once)))
    print(json.dumps(report))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("serve")
    verb.add_argument("--port", type=int, required=True)
    verb.add_argument("--next")
    verb.add_argument("--pass", dest="hands_on", action="store_true")
    verb.add_argument("--fail", type=int)
    verb.add_argument("--takes", type=float, default=0)
    verb = verbs.add_parser("press")
    verb.add_argument("--port", type=int, required=True)
    verb.add_argument("--at-once", type=int, default=1)
    verb.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(serve(options) if options.verb == "serve" else press(options))
    except KeyboardInterrupt:
        sys.exit(0)


main()

# SPDX-License-Identifier: Apache-2.0
"""What mailer.py and partner.py have in common: a server, its database, and faults on demand. Standard library only."""

import http.server
import json
import math
import os
import random
import signal
import sqlite3
import sys
import threading
import time

STANDARD_NORMAL_99 = 2.326347874040841


def seconds(text):
    """`250ms` or `2s`, as it is written in a Weir file."""
    for unit, length in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * length
    return float(text)


def work_time(median, p99):
    """A draw of the lognormal distribution that has this median and this 99th percentile, or 0."""
    if median <= 0:
        return 0.0
    sigma = math.log(max(p99, median) / median) / STANDARD_NORMAL_99
    return random.lognormvariate(math.log(median), sigma)


class Store:
    """SQLite; what is written is on the disk before it is answered. One connection a request, and one that stays open:
    the last to close would write the whole log into the database, three fsyncs, after each request."""

    def __init__(self, url, tables):
        self.path = url.removeprefix("sqlite:").removeprefix("//")
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        with self.open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(tables)
        self.kept = db

    def open(self):
        db = sqlite3.connect(self.path, timeout=10, isolation_level="IMMEDIATE")
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
        return db

    def write(self, work):
        """Does `work` with a connection, in one transaction."""
        db = self.open()
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                return work(db)
        finally:
            db.close()

    def rows(self, sql, *values):
        db = self.open()
        try:
            return [dict(row) for row in db.execute(sql, values)]
        finally:
            db.close()


def log(name, event, **fields):
    print(json.dumps({"program": name, "event": event, **fields}), flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /healthz, takes faults at /faults from who knows the token, and leaves the rest to `routes`."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes: with Nagle's algorithm the second waits 40 ms for the peer's delayed acknowledgement.
    disable_nagle_algorithm = True
    routes = {}
    faults = {}
    token = os.environ.get("WEIR_EXAMPLE_FAULTS", "")

    def answer(self, status, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.split("?")[0]
        if path == "/healthz":
            return self.answer(200 if Handler.faults.get("health", True) else 503)
        if path == "/faults" and self.token and self.headers.get("x-fault-token") == self.token:
            if self.command == "POST":
                Handler.faults = json.loads(body or b"{}")
            return self.answer(200, Handler.faults)
        route = self.routes.get((self.command, path))
        if route is None:
            return self.answer(404, {"status": 404, "detail": "there is nothing at this path"})
        if Handler.faults.get("die") == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if "status" in Handler.faults:
            return self.answer(Handler.faults["status"], {"detail": "told to answer so"})
        status, value = route(self, body)
        if Handler.faults.get("die") == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        self.answer(status, value)

    do_GET = do_POST = handle_request

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def serve(name, routes, port, started=None):
    """Serves until SIGTERM or Ctrl-C, then finishes what was begun."""
    Handler.routes = routes
    server = Server(("127.0.0.1", port), Handler)
    server.daemon_threads = False

    def stop(*_):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log(name, "started", host="127.0.0.1", port=server.server_address[1], pid=os.getpid())
    if started:
        threading.Thread(target=started, args=(server.server_address[1],), daemon=True).start()
    server.serve_forever(poll_interval=0.1)
    # Connections that are kept open hold a thread each: what is in work has until then.
    time.sleep(0.2)
    log(name, "stopped")
    sys.stdout.flush()
    os._exit(0)

# SPDX-License-Identifier: Apache-2.0
"""A participant of sagas with nothing but Python's standard library; what it has done is in a SQLite file and outlives it.

POST /do does the step of the request's Idempotency-Key once; POST /undo takes it back, and bars it. `mode-<name>`, if that file
is there, says how: a status to refuse with, `slow` for an answer after 3 s, `lost` for none to the first call of each key,
`keeps` for an undo that is refused.
POST /start passes its body on to $ORDER_URL, GET /state/<id> asks there.
"""
import http.server
import json
import os
import sqlite3
import sys
import threading
import time
import urllib.error
import urllib.request

name = sys.argv[1]
lock = threading.Lock()
rows = sqlite3.connect(f"{name}.db", check_same_thread=False, isolation_level=None)
rows.execute("pragma journal_mode=wal")
rows.execute("pragma synchronous=off")
rows.execute("create table if not exists step (key text primary key, calls int, done int, undone int, barred int)")


def mode():
    try:
        with open(f"mode-{name}") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def take(key, is_undo, how):
    """The status, and whether anything is said at all."""
    with lock:
        rows.execute("insert or ignore into step values (?, 0, 0, 0, 0)", (key,))
        calls, done, undone, barred = rows.execute(
            "select calls, done, undone, barred from step where key = ?", (key,)).fetchone()
        if is_undo and how == "keeps":
            return 403, True
        if is_undo:
            rows.execute("update step set barred = 1, undone = done where key = ?", (key,))
            return 200, True
        rows.execute("update step set calls = calls + 1 where key = ?", (key,))
        if barred:
            return 410, True
        if how.isdigit() and not done:
            return int(how), True
        if not done:
            rows.execute("update step set done = 1 where key = ?", (key,))
        return 200, not (how == "lost" and calls == 0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"{}", kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200)
        if self.path == "/rows":
            with lock:
                found = rows.execute("select key, calls, done, undone from step").fetchall()
            return self.answer(200, json.dumps(
                [{"key": k, "calls": c, "done": d, "undone": u} for k, c, d, u in found]).encode())
        if self.path.startswith("/state/"):
            return self.pass_on("GET", "/" + self.path.removeprefix("/state/"))
        self.answer(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/start":
            return self.pass_on("POST", "", body)
        key = self.headers["idempotency-key"]
        is_undo = self.path == "/undo"
        how = mode()
        status, speaks = take(key.removesuffix("/undo"), is_undo, how)
        if how == "slow":
            time.sleep(3)
        if not speaks:
            self.close_connection = True
            return self.connection.close()
        self.answer(status, b'{"by":"%s"}' % name.encode())

    def pass_on(self, method, path, body=None):
        fields = {"Weir-" + n[5:]: v for n, v in self.headers.items() if n.lower().startswith("send-")}
        fields["Content-Type"] = "application/json"
        request = urllib.request.Request(os.environ["ORDER_URL"] + path, data=body, headers=fields, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as reply:
                self.answer(reply.status, reply.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read(), error.headers.get("content-type") or "text/plain")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()

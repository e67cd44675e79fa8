# SPDX-License-Identifier: Apache-2.0
"""A service with nothing but Python's standard library: it publishes and appends events, hears them, and fetches them.

<method> /pass/<VARIABLE>/<rest> goes to $VARIABLE/<rest> with its send-… fields as weir-…, x-type as its type, and the answer
comes back.
POST /heard/<file> appends what it got to that file and answers 204, or with the status in the file `mode`.
With $EVENTS_URL it fetches the events of the group `audit` over plain HTTP and appends them to the file `audit`.
"""
import http.server
import json
import os
import threading
import time
import urllib.error
import urllib.request

lock = threading.Lock()


def mode():
    try:
        with open("mode") as file:
            return int(file.read().strip() or "204")
    except FileNotFoundError:
        return 204


def note(name, line):
    with lock, open(name, "a") as file:
        file.write(json.dumps(line) + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200)
        else:
            self.pass_on("GET")

    def do_PUT(self):
        self.pass_on("PUT")

    def do_POST(self):
        if not self.path.startswith("/heard/"):
            return self.pass_on("POST")
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        status = mode()
        names = ("id", "key", "type", "position", "version", "topic", "stream", "group", "attempt", "count")
        line = {name: self.headers["weir-" + name] for name in names}
        line["ce"] = self.headers["ce-type"]
        line["body"] = body
        line["status"] = status
        note(self.path.removeprefix("/heard/"), line)
        self.answer(status)

    def pass_on(self, method):
        variable, _, rest = self.path.removeprefix("/pass/").partition("/")
        # A gateway lets no caller say weir-… fields.
        fields = {"Weir-" + n[5:]: v for n, v in self.headers.items() if n.lower().startswith("send-")}
        fields["Content-Type"] = self.headers.get("x-type") or self.headers.get("content-type") or "application/octet-stream"
        data = self.rfile.read(int(self.headers.get("content-length") or 0)) if method != "GET" else None
        request = urllib.request.Request(
            os.environ[variable] + ("" if rest[:1] in ("", "?") else "/") + rest, data=data, headers=fields,
            method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                self.answer(reply.status, reply.read(), reply.headers.get("content-type") or "text/plain")
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read(), error.headers.get("content-type") or "text/plain")
        except OSError as error:
            self.answer(599, str(error).encode(), "text/plain")

    def log_message(self, *_):
        pass


def ask(path, body=b""):
    request = urllib.request.Request(
        os.environ["EVENTS_URL"] + "/groups/audit/" + path, data=body, method="POST",
        headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def fetch():
    while True:
        try:
            messages = ask("lease?max=10&wait=5s")["messages"]
            for message in messages:
                note("audit", {
                    "id": message["id"], "key": message.get("key"), "position": str(message.get("position")),
                    "type": message.get("type"), "attempt": str(message["attempt"]),
                    "body": json.dumps(message.get("body"), separators=(",", ":")), "status": 204,
                })
            if messages:
                ask("ack", json.dumps({"leases": [message["lease"] for message in messages]}).encode())
        except (OSError, ValueError, KeyError):
            time.sleep(0.1)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


if "EVENTS_URL" in os.environ:
    threading.Thread(target=fetch, daemon=True).start()
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()

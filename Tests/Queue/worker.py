# SPDX-License-Identifier: Apache-2.0
"""A service with nothing but Python's standard library: it sends to a queue, and works on what comes out of it.

POST /send/<anything> passes its body, and its send-… fields as weir-…, to $WORK_URL<anything> and the answer back.
POST /work appends what it got to the file `done` and answers with the status in the file `mode` (204 without one).
"""
import http.server
import json
import os
import threading
import urllib.error
import urllib.request

lock = threading.Lock()


def mode():
    try:
        with open("mode") as file:
            return int(file.read().strip() or "204")
    except FileNotFoundError:
        return 204


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", kind="application/json", fields=()):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200)
        else:
            self.pass_on("GET")

    def do_POST(self):
        if self.path != "/work":
            return self.pass_on("POST")
        body = self.body()
        status = mode()
        line = {
            "id": self.headers["weir-id"], "key": self.headers["weir-key"], "attempt": self.headers["weir-attempt"],
            "type": self.headers["content-type"], "status": status, "body": body.decode(),
            "idempotency": self.headers["idempotency-key"],
        }
        with lock, open("done", "a") as file:
            file.write(json.dumps(line) + "\n")
        self.answer(status, b"" if status == 204 else b'{"said":"' + str(status).encode() + b'"}')

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def pass_on(self, method):
        # A gateway lets no caller say weir-… fields.
        fields = {"Weir-" + n[5:]: v for n, v in self.headers.items() if n.lower().startswith("send-")}
        fields["Content-Type"] = self.headers.get("content-type") or "application/octet-stream"
        request = urllib.request.Request(
            os.environ["WORK_URL"] + self.path.removeprefix("/send"), data=self.body() if method == "POST" else None,
            headers=fields, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                self.answer(reply.status, reply.read(), fields=[("X-Location", reply.headers.get("location") or "")])
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read(), error.headers.get("content-type") or "text/plain")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()

# SPDX-License-Identifier: Apache-2.0
"""Sends and takes webhooks by the reference library (`standardwebhooks`); see the tests of webhooks.

webhooks.py send PORT PATH SECRET ID SECONDS BODY   posts a signed webhook, says the status
webhooks.py take FOLDER                             says its port in the file `port`; verifies with the secrets in the file `secrets`,
                                                    answers with the status in the file `status`, appends id and body to `taken`
"""
import http.server
import os
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

from standardwebhooks.webhooks import Webhook


def send(port, path, secret, id, seconds, body):
    at = datetime.fromtimestamp(int(seconds), tz=timezone.utc)
    fields = {
        "host": "test.example",
        "webhook-id": id,
        "webhook-timestamp": seconds,
        "webhook-signature": Webhook(secret).sign(msg_id=id, timestamp=at, data=body),
        "content-type": "application/json",
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body.encode(), fields, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            print(answer.status)
    except urllib.error.HTTPError as error:
        print(error.code)


def take(folder):
    def read(name, otherwise=""):
        try:
            with open(os.path.join(folder, name)) as file:
                return file.read().strip()
        except FileNotFoundError:
            return otherwise

    def note(name, line):
        with open(os.path.join(folder, name), "a") as file:
            file.write(line + "\n")

    class Partner(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            fields = {name.lower(): value for name, value in self.headers.items()}
            status = int(read("status", "204"))
            for secret in read("secrets").split():
                # Each of them alone must hold: while one is rotated both do.
                try:
                    Webhook(secret).verify(body, fields)
                except Exception as error:
                    note("refused", str(error))
                    status = 400
            if status < 300:
                note("taken", f"{fields['webhook-id']} {body.decode()}")
            else:
                note("tried", f"{status} {fields['webhook-id']}")
            self.send_response(status)
            if status == 302:
                self.send_header("location", "http://127.0.0.1:1/inside")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Partner)
    with open(os.path.join(folder, "port.new"), "w") as file:
        file.write(str(server.server_address[1]))
    os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
    server.serve_forever()


{"send": send, "take": take}[sys.argv[1]](*sys.argv[2:])

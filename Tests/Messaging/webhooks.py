# SPDX-License-Identifier: Apache-2.0
"""Sends and takes webhooks by the reference library (`standardwebhooks`); see the tests of webhooks.

webhooks.py send PORT PATH SECRET ID SECONDS BODY   posts a signed webhook, says the status
webhooks.py take SECRET FILE                        says its port; writes a line for each webhook that holds: id, key, body
"""
import http.server
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


def take(secret, file):
    judge = Webhook(secret)
    taken = open(file, "a", buffering=1)

    class Partner(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status = 204
            try:
                judge.verify(body, {name.lower(): value for name, value in self.headers.items()})
                taken.write(f"{self.headers['webhook-id']} {body.decode()}\n")
            except Exception as error:
                taken.write(f"refused {error}\n")
                status = 400
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Partner)
    print(server.server_address[1], flush=True)
    server.serve_forever()


{"send": send, "take": take}[sys.argv[1]](*sys.argv[2:])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A partner of the shop: another company's program, which wants to hear of placed orders.

    partner.py --port 9002 --database data/partner.db --address http://127.0.0.1:8080/partner

It registers `<address>/hook` as an endpoint of the webhook `partner-orders`, keeps the secret that it is given, and takes
only what is signed with it (Standard Webhooks: HMAC-SHA256 of id, time and body, byte for byte).
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.request

from program import Store, log, serve

NAME = "shop-partner"
TABLES = """
CREATE TABLE IF NOT EXISTS secrets (secret TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS heard (id TEXT PRIMARY KEY, order_id TEXT, type TEXT, body TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (id TEXT, verified INTEGER NOT NULL, at REAL NOT NULL);
"""

parser = argparse.ArgumentParser(description="Registers for webhooks, and verifies what comes.")
parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "0")))
parser.add_argument("--database", default=os.environ.get("PARTNER_DB_URL"), required="PARTNER_DB_URL" not in os.environ)
parser.add_argument("--address", required=True, help="where this program can be reached from outside")
options = parser.parse_args()
store = Store(options.database, TABLES)


def secrets():
    return [row["secret"] for row in store.rows("SELECT secret FROM secrets")]


def is_genuine(headers, body):
    """Whether one of our secrets has signed this, within the last five minutes."""
    name, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not name or not moment.isdigit() or abs(time.time() - int(moment)) > 300:
        return False
    signed = f"{name}.{moment}.".encode() + body
    given = [word[3:] for word in headers.get("webhook-signature", "").split(" ") if word.startswith("v1,")]
    for secret in secrets():
        code = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        wanted = base64.b64encode(code).decode()
        if any(hmac.compare_digest(wanted, one) for one in given):
            return True
    return False


def hook(request, body):
    name, verified = request.headers.get("webhook-id"), is_genuine(request.headers, body)
    value = json.loads(body) if verified else {}
    event = value.get("data", value) if isinstance(value, dict) else {}

    def work(db):
        db.execute("INSERT INTO deliveries VALUES (?, ?, ?)", (name, verified, time.time()))
        if verified:
            # The same id is the same event: delivered twice it is heard once.
            db.execute(
                "INSERT OR IGNORE INTO heard VALUES (?, ?, ?, ?, ?)",
                (name, event.get("order_id"), value.get("type"), body.decode(), time.time()))

    store.write(work)
    return (200, {}) if verified else (401, {"detail": "this is not signed with our secret"})


def orders(request, body):
    return 200, store.rows("SELECT id, order_id, type FROM heard ORDER BY at DESC LIMIT 50")


def ask(method, path, value=None):
    """A request to the shop's Weir: its status and its answer."""
    request = urllib.request.Request(
        os.environ["WEIR_URL"] + "/webhooks/partner-orders/endpoints" + path, method=method,
        data=None if value is None else json.dumps(value).encode(), headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, json.loads(reply.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, {}
    except OSError as error:
        return 0, {"error": str(error)}


def keep(secret):
    store.write(lambda db: db.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (secret, time.time())))


def register():
    """One try; whether the endpoint is there and its secret is ours."""
    wanted = {"id": "partner", "url": options.address + "/hook", "types": ["OrderPlaced"]}
    status, there = ask("GET", "/partner")
    if status == 200 and there.get("state") == "disabled":
        # We were away for longer than anybody waits for us.
        ask("POST", "/partner/enable")
    if status == 200 and there.get("url") == wanted["url"] and secrets():
        return True
    if status == 200 and there.get("url") == wanted["url"]:
        # It is there, and we have lost its secret: a new one, which signs beside the old one for a while.
        status, made = ask("POST", "/partner/rotate")
    else:
        if status == 200:
            ask("DELETE", "/partner")
        status, made = ask("POST", "", wanted)
    if status not in (200, 201) or "secret" not in made:
        log(NAME, "not-registered", status=status, answer=made)
        return False
    keep(made["secret"])
    log(NAME, "registered", url=wanted["url"])
    return True


def register_until_done(port):
    wait = 0.2
    while "WEIR_URL" in os.environ and not register():
        time.sleep(wait)
        wait = min(2 * wait, 10)


serve(NAME, {("POST", "/hook"): hook, ("GET", "/orders"): orders}, options.port, started=register_until_done)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shop's mailer: takes what the queue `emails` brings, and writes each mail once.

    mailer.py --port 9001 --database data/mails.db

Nothing leaves this machine: a mail is a row in SQLite. The queue delivers at least once, so each delivery has the same
Idempotency-Key whenever it comes; a key that is there already is answered 200 and nothing more. (With a real mail server
the key becomes the Message-ID, which is how that one knows a mail again.)
"""

import argparse
import json
import os
import sqlite3
import time

from program import Store, seconds, serve, work_time

TABLES = """
CREATE TABLE IF NOT EXISTS mails (
  id TEXT PRIMARY KEY, order_id TEXT, recipient TEXT NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (id TEXT NOT NULL, attempt INTEGER, at REAL NOT NULL);
"""

parser = argparse.ArgumentParser(description="Writes the mails that the queue brings.")
parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "0")))
parser.add_argument("--database", default=os.environ.get("MAILS_DB_URL"), required="MAILS_DB_URL" not in os.environ)
parser.add_argument("--work-median", type=seconds, default=0, help="how long a mail takes")
parser.add_argument("--work-p99", type=seconds, default=0)
options = parser.parse_args()
store = Store(options.database, TABLES)


def send(request, body):
    key = request.headers.get("idempotency-key")
    if not key:
        return 400, {"detail": "without an Idempotency-Key it could be sent twice"}
    try:
        mail = json.loads(body)
        row = (key, mail.get("order_id"), mail["to"], mail["subject"], mail["text"], time.time())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # No attempt can mend it: a 4xx makes it a dead letter at once.
        return 422, {"detail": f"this is no mail: {error}"}
    time.sleep(work_time(options.work_median, options.work_p99))

    def work(db):
        attempt = request.headers.get("weir-attempt")
        db.execute("INSERT INTO deliveries VALUES (?, ?, ?)", (key, attempt, time.time()))
        try:
            db.execute("INSERT INTO mails VALUES (?, ?, ?, ?, ?, ?)", row)
            return {"sent": True}
        except sqlite3.IntegrityError:
            return {"sent": "before"}

    return 200, store.write(work)


def mails(request, body):
    return 200, store.rows("SELECT order_id, recipient, subject FROM mails ORDER BY at DESC LIMIT 50")


serve("shop-mailer", {("POST", "/send"): send, ("GET", "/mails"): mails}, options.port)

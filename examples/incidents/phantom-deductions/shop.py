# SPDX-License-Identifier: Apache-2.0
"""The three programs of the incident; standard library only.

  shop.py orders|payments|inventory --port PORT [--stock FILE]

Nothing here knows of numbers, copies or Weir, but for the addresses in its environment: that is the point. `inventory` knows
a delivery again that is only tried again (Idempotency-Key), as any consumer should; what was *sent* again has another one.
"""
import argparse, concurrent.futures, http.server, json, os, signal, sqlite3, sys, urllib.request


def post(url, value, timeout):
    request = urllib.request.Request(url, json.dumps(value).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.status


def say(order, number, what):
    """Tells the others what has become of an order."""
    event = {"order_id": order, "number": number, "event_id": f"{order}/{what}", "what": what}
    return post(os.environ["ORDER_EVENTS_URL"], event, timeout=120)


class Orders:
    def post_orders(self, order, fields):
        post(os.environ["PAYMENTS_URL"] + "/charges", order, timeout=10)
        say(order["order_id"], 2, "left")
        return 201


class Payments:
    def __init__(self):
        self.words = concurrent.futures.ThreadPoolExecutor(2000)

    def post_charges(self, order, fields):
        word = self.words.submit(say, order["order_id"], 1, "paid")
        try:
            word.result(timeout=0.3)
        except concurrent.futures.TimeoutError:
            pass  # The network is slow. The money is there: the customer does not wait for our word of it.
        return 200


class Inventory:
    def __init__(self, path):
        self.path = path
        with self.open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript("""
                CREATE TABLE IF NOT EXISTS item (order_id TEXT PRIMARY KEY, paid INT DEFAULT 0, taken INT DEFAULT 0);
                CREATE TABLE IF NOT EXISTS seen (delivery TEXT PRIMARY KEY);
                CREATE TABLE IF NOT EXISTS phantom (order_id TEXT, why TEXT);
                """)

    def open(self):
        db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        db.execute("PRAGMA synchronous = OFF")
        return db

    def post_events(self, event, fields):
        db = self.open()
        try:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("INSERT OR IGNORE INTO seen VALUES (?)", [fields["Idempotency-Key"]]).rowcount:
                self.work(db, event)
            db.execute("COMMIT")
        finally:
            db.close()
        return 204

    def work(self, db, event):
        order = event["order_id"]
        db.execute("INSERT OR IGNORE INTO item (order_id) VALUES (?)", [order])
        if event["what"] == "paid":
            db.execute("UPDATE item SET paid = paid + 1 WHERE order_id = ?", [order])
            return
        paid, taken = db.execute("SELECT paid, taken FROM item WHERE order_id = ?", [order]).fetchone()
        db.execute("UPDATE item SET taken = taken + 1 WHERE order_id = ?", [order])
        if taken:
            db.execute("INSERT INTO phantom VALUES (?, 'twice')", [order])
        elif not paid:
            db.execute("INSERT INTO phantom VALUES (?, 'unpaid')", [order])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    program = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        work = getattr(self.program, "post_" + self.path.strip("/").split("/")[0], None)
        try:
            status = work(json.loads(body), self.headers) if work else 404
        except Exception as error:
            print(f"{self.path}: {error!r}", file=sys.stderr, flush=True)
            status = 503
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=["orders", "payments", "inventory"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stock", default="stock.sqlite")
    o = parser.parse_args()
    Handler.program = {"orders": Orders, "payments": Payments, "inventory": lambda: Inventory(o.stock)}[o.program]()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Server(("127.0.0.1", o.port), Handler).serve_forever()


main()

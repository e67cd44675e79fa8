# SPDX-License-Identifier: Apache-2.0
"""An outbox under crashes: python3 crash.py --weir PATH [--database sqlite|postgres] [--messages N] [--kills N] [--seed N]
  [--targets queues,topics,streams,sagas]

A writer puts an order and a message about it into its database in one transaction; one in ten it rolls back. Meanwhile the
plane (and with it the relay), the state process and the consumer are killed (-9) at random moments: each at least once, and
a kill counts when the process is seen to be gone. The messages go to a queue, a topic, a stream and a saga in turn. The consumer,
at which all of them end, keeps the documented inbox table. In the end each committed order must have had its effect once, and no
other one any; those of one customer at one target in their order.

With postgres a server of its own is started (by the user postgres when this one is root), and spoken to by psql.
"""
import argparse
import glob
import http.server
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

OUTBOX = """
CREATE TABLE weir_outbox (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  target  TEXT NOT NULL,
  key     TEXT,
  type    TEXT,
  headers TEXT,
  body    BLOB NOT NULL,
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
"""
OUTBOX_POSTGRES = """
CREATE TABLE weir_outbox (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  target  text NOT NULL,
  key     text,
  type    text,
  headers jsonb,
  body    bytea NOT NULL,
  created timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION weir_outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY weir_outbox; RETURN NULL; END $$;
CREATE TRIGGER weir_outbox_wake AFTER INSERT ON weir_outbox FOR EACH STATEMENT EXECUTE FUNCTION weir_outbox_wake();
"""
# Of each target: where a row goes, and what type it has.
TARGETS = {"queues": ("queues/emails", None), "topics": ("topics/happened", "OrderPlaced"),
           "streams": ("streams/ledger", "Placed"), "sagas": ("sagas/fulfil", None)}
PLACES = {"queues/emails": "/work", "topics/happened": "/heard", "streams/ledger": "/listed", "sagas/fulfil": "/fulfil"}
INBOX = "CREATE TABLE IF NOT EXISTS weir_inbox (id TEXT PRIMARY KEY, seen TEXT NOT NULL DEFAULT (datetime('now')))"


def consumer():
    """What is documented: the message's id goes into the inbox in the transaction of its effect."""
    path = "inbox.db"

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self):
            self.answer(200)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            database = sqlite3.connect(path, timeout=60, isolation_level=None)
            database.execute("BEGIN IMMEDIATE")
            new = database.execute(
                "INSERT INTO weir_inbox (id) VALUES (?) ON CONFLICT DO NOTHING", (self.headers["weir-id"],)).rowcount
            if new:
                database.execute("INSERT INTO effects (n, place) VALUES (?, ?)", (json.loads(body)["order"], self.path))
            database.execute("INSERT INTO deliveries (id) VALUES (?)", (self.headers["weir-id"],))
            database.execute("COMMIT")
            database.close()
            self.answer(204)

        def log_message(self, *_):
            pass

    database = sqlite3.connect(path, timeout=60, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(INBOX)
    database.execute("CREATE TABLE IF NOT EXISTS effects (n INTEGER NOT NULL, place TEXT, at INTEGER PRIMARY KEY)")
    database.execute("CREATE TABLE IF NOT EXISTS deliveries (id TEXT)")
    database.close()
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


class SQLite:
    def __init__(self, folder):
        self.path = folder + "/shop.db"
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript("CREATE TABLE orders (n INTEGER PRIMARY KEY);" + OUTBOX)
        database.close()
        self.store = "{ engine: sqlite, path: shop.db, outbox: weir_outbox }"

    def opened(self):
        self.database = sqlite3.connect(self.path, timeout=60, isolation_level=None)

    def order(self, n, key, target, body, keeps):
        self.database.execute("BEGIN IMMEDIATE")
        self.database.execute("INSERT INTO orders (n) VALUES (?)", (n,))
        self.database.execute(
            "INSERT INTO weir_outbox (target, key, type, headers, body) VALUES (?, ?, ?, ?, ?)",
            (target[0], key, target[1], '{"content-type": "application/json"}', body))
        self.database.execute("COMMIT" if keeps else "ROLLBACK")

    def facts(self):
        database = sqlite3.connect(self.path, timeout=60)
        orders = [n for (n,) in database.execute("SELECT n FROM orders")]
        waiting = database.execute("SELECT count(*) FROM weir_outbox").fetchone()[0]
        database.close()
        return orders, waiting

    def end(self):
        pass


class Postgres:
    def __init__(self, folder):
        self.bin = ([""] + sorted(glob.glob("/usr/lib/postgresql/*/bin")))[-1]
        if not self.bin:
            sys.exit("no PostgreSQL: apt-get install postgresql")
        self.folder = tempfile.mkdtemp(prefix="weir-pg-")
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self.as_user:
            shutil.chown(self.folder, "postgres")
        self.port = free_port()
        self.run(self.bin + "/initdb", "-D", self.folder + "/data", "-A", "trust", "-U", "shop", "-N")
        self.run(self.bin + "/pg_ctl", "-D", self.folder + "/data", "-w", "-t", "120", "-l", self.folder + "/log", "-o",
                 f"-p {self.port} -c unix_socket_directories= -c listen_addresses=127.0.0.1 -c fsync=on", "start")
        self.dsn = f"postgres://shop@127.0.0.1:{self.port}/postgres"
        self.ask("CREATE TABLE orders (n bigint PRIMARY KEY);" + OUTBOX_POSTGRES)
        self.store = ("{ engine: postgres, at: \"127.0.0.1:%d\", connection: \"%s\", outbox: weir_outbox }"
                      % (self.port, self.dsn))

    def run(self, *words):
        done = subprocess.run(self.as_user + list(words), cwd="/", capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{words[0]}: {done.stdout}{done.stderr}")

    def ask(self, sql):
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.dsn], input=sql,
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"psql: {done.stderr}")
        return done.stdout

    def opened(self):
        self.writer = subprocess.Popen(["psql", "-X", "-q", "-A", "-t", self.dsn], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def order(self, n, key, target, body, keeps):
        kind = f"'{target[1]}'" if target[1] else "NULL"
        self.writer.stdin.write(
            f"BEGIN; INSERT INTO orders VALUES ({n});\n"
            f"INSERT INTO weir_outbox (target, key, type, headers, body) VALUES ('{target[0]}', "
            f"'{key}', {kind}, '{{\"content-type\": \"application/json\"}}', convert_to('{body.decode()}', 'UTF8'));\n"
            f"{'COMMIT' if keeps else 'ROLLBACK'}; SELECT 'done';\n")
        self.writer.stdin.flush()
        self.writer.stdout.readline()

    def facts(self):
        orders = [int(n) for n in self.ask("SELECT n FROM orders").split()]
        return orders, int(self.ask("SELECT count(*) FROM weir_outbox"))

    def end(self):
        subprocess.run(self.as_user + [self.bin + "/pg_ctl", "-D", self.folder + "/data", "-m", "immediate", "stop"],
                       cwd="/", capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def processes(folder):
    """The system's processes by what they are: keeper, plane, state, consumer."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                words = file.read().decode().split("\0")
        except OSError:
            continue
        pid = int(path.split("/")[2])
        whole = " ".join(words)
        if folder not in whole and "crash.py consumer" not in whole:
            continue
        if "crash.py consumer" in whole:
            try:
                if os.readlink(f"/proc/{pid}/cwd") == folder:
                    found["consumer"] = pid
            except OSError:
                pass
        elif len(words) > 1 and words[1] == "state":
            found["state"] = pid
    try:
        with open(folder + "/state/pids.json") as file:
            found["plane"] = json.load(file)["plane"]["pid"]
    except (OSError, KeyError, TypeError, ValueError):
        pass
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weir", required=True)
    parser.add_argument("--database", default="sqlite", choices=["sqlite", "postgres"])
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--targets", default=",".join(TARGETS))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    targets = [TARGETS[name] for name in options.targets.split(",")]
    folder = os.path.realpath(tempfile.mkdtemp(prefix="weir-outbox-"))
    database = SQLite(folder) if options.database == "sqlite" else Postgres(folder)
    port = free_port()
    retry = "retry: { attempts: 1000, backoff: { first: 100ms, max: 500ms } }"
    with open(folder + "/weir.yaml", "w") as file:
        file.write(f"""weir: 1
system: shop
gateway: {{ listen: {port}, routes: {{ all: {{ path: /**, to: mailer }} }} }}
services:
  mailer:
    run: {sys.executable} {os.path.abspath(__file__)} consumer
    health: /healthz
    calls: {{ shop-db: {{}} }}
queues:
  emails:
    to: POST mailer/work
    at-once: 8
    visibility: 5s
    key: customer
    {retry}
topics:
  happened: {{ to: {{ mails: {{ do: POST mailer/heard, visibility: 5s, {retry} }} }} }}
streams:
  ledger: {{ events: [Placed], projections: {{ list: {{ do: POST mailer/listed, visibility: 5s, {retry} }} }} }}
sagas:
  fulfil: {{ steps: [{{ do: POST mailer/fulfil, undo: POST mailer/take-back }}] }}
stores:
  shop-db: {database.store}
""")
    log = open(folder + "/weir.log", "wb")
    run = subprocess.Popen([options.weir, "run", folder + "/weir.yaml", "--state", folder + "/state", "--admin", "0"],
                           stdout=log, stderr=log, cwd=folder)
    kills = {}
    kept = []
    failed = None
    try:
        deadline = time.time() + 120
        while set(processes(folder)) != {"plane", "state", "consumer"}:
            if run.poll() is not None or time.time() > deadline:
                raise RuntimeError("the system does not come up: " + open(folder + "/weir.log").read()[-3000:])
            time.sleep(0.05)
        written = threading.Event()

        def write():
            database.opened()
            for n in range(options.messages):
                keeps = chance.random() >= 0.1
                key = f"c{n % 7}"
                database.order(n, key, targets[n % len(targets)], json.dumps({"order": n}).encode(), keeps)
                if keeps:
                    kept.append(n)
                time.sleep(options.kills / options.messages)
            written.set()

        threading.Thread(target=write, daemon=True).start()
        killer = random.Random(options.seed + 1)
        first = ["plane", "state", "consumer"]
        killer.shuffle(first)
        for i in range(options.kills):
            time.sleep(killer.uniform(0.05, 0.6))
            what = first[i] if i < 3 else killer.choice(["plane", "plane", "state", "state", "consumer"])
            deadline = time.time() + 120
            while not is_alive(pid := processes(folder).get(what, -1)):
                if run.poll() is not None or time.time() > deadline:
                    raise RuntimeError(f"there is no {what} to kill")
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            while is_alive(pid):
                if time.time() > deadline:
                    raise RuntimeError(f"{what} outlives its end")
                time.sleep(0.001)
            kills[what] = kills.get(what, 0) + 1
        if not written.wait(300):
            raise RuntimeError("the writer does not come to its end")
        deadline = time.time() + 240
        effects = []
        while time.time() < deadline:
            _, waiting = database.facts()
            inbox = sqlite3.connect(folder + "/inbox.db", timeout=60)
            effects = inbox.execute("SELECT n, place FROM effects ORDER BY at").fetchall()
            deliveries = inbox.execute("SELECT count(*) FROM deliveries").fetchone()[0]
            inbox.close()
            if waiting == 0 and len(effects) >= len(kept):
                break
            time.sleep(0.2)
        # What would come twice comes now.
        time.sleep(2)
        inbox = sqlite3.connect(folder + "/inbox.db", timeout=60)
        effects = inbox.execute("SELECT n, place FROM effects ORDER BY at").fetchall()
        places = {place: sum(1 for _, at in effects if at == place) for place in sorted({at for _, at in effects})}
        misplaced = sum(1 for n, at in effects if at != PLACES[targets[n % len(targets)][0]])
        effects = [n for n, _ in effects]
        orders, waiting = database.facts()
        lost = sorted(set(kept) - set(effects))
        double = len(effects) - len(set(effects))
        invented = sorted(set(effects) - set(kept))
        disorder = sum(
            1 for key in range(7) for target in range(len(targets)) for a, b in zip(*(lambda l: (l, l[1:]))(
                [n for n in effects if n % 7 == key and n % len(targets) == target])) if a > b)
        print(json.dumps({
            "database": options.database, "seed": options.seed, "kills": kills, "committed": len(kept),
            "effects": len(effects), "places": places, "deliveries": deliveries, "lost": len(lost), "double": double,
            "invented": len(invented), "out of order": disorder, "left in the table": waiting}))
        if sum(kills.values()) != options.kills or len(kills) < min(3, options.kills):
            failed = f"too few were killed: {kills}"
        if lost or double or invented or disorder or waiting or misplaced or sorted(orders) != sorted(kept):
            failed = f"misplaced {misplaced}, lost {lost[:5]}, invented {invented[:5]}"
    except RuntimeError as error:
        failed = str(error)
    finally:
        run.send_signal(signal.SIGINT)
        try:
            run.wait(60)
        except subprocess.TimeoutExpired:
            run.kill()
        for pid in processes(folder).values():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        database.end()
    if failed:
        sys.exit(f"{failed}\nkept: {folder}\n" + open(folder + "/weir.log", errors="replace").read()[-2000:])
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["consumer"]:
        consumer()
    else:
        main()

# SPDX-License-Identifier: Apache-2.0
"""Sagas under crashes: python3 crash.py --weir PATH [--shim FILE] [--kills N] [--seed N] [--forgets]

Three participants are in this process and write down each effect. First, with --shim (Tests/DiskJournal/die.c as a library),
one saga after the other: the state process is killed (-9) before and after each of the writes to its database that the saga
causes, one that is finished and one that is compensated; then the plane, at each tenth of them. Then, while sagas go on being
begun, plane and state process are killed at random moments, until there were N kills in all, a quarter of N of them so.

In the end each saga that was accepted must be finished, with each step's effect once, or compensated, with none, the steps
forward in their order and undone in the reverse one, each under its own key. A kill counts when the process is seen to be gone.
--forgets: participants that do not know a key again; the checker must find that out.
"""
import argparse
import http.client
import http.server
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

STEPS = 3
PARTICIPANT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "participant.py")


class Effects:
    """What was done, in its order."""

    def __init__(self, forgets):
        self.forgets = forgets
        self.lock = threading.Lock()
        self.log = []
        self.done = {}
        self.undone = {}
        self.barred = set()
        self.calls = {}
        self.strange = []

    def take(self, key, saga, is_undo):
        """A status, or None for no answer."""
        parts = key.split("/")
        kind = saga.removeprefix("sweep-").split("-")[0]
        with self.lock:
            number = int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
            wanted = f"order/{saga}/{number}" + ("/undo" if is_undo else "")
            if key != wanted or not 1 <= number <= STEPS:
                self.strange.append(key)
                return 400
            count = self.calls[key] = self.calls.get(key, 0) + 1
            # Once it is not done, though asked, and once done, though nobody hears of it.
            if kind == "busy" and count == 1:
                return 503
            if is_undo:
                if number in self.done.get(saga, []) and (self.forgets or (saga, number) not in self.barred):
                    self.undone.setdefault(saga, []).append(number)
                self.barred.add((saga, number))
            else:
                if (saga, number) in self.barred:
                    return 410
                if kind == f"bad{number}":
                    return 422
                if self.forgets or number not in self.done.get(saga, []):
                    self.done.setdefault(saga, []).append(number)
            return None if kind == "lost" and count == 1 else 200

    def serve(self):
        effects = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length") or 0))
                saga = self.headers["weir-id"]
                chance = random.random()
                if not saga.startswith("sweep"):
                    time.sleep(chance * 0.03)
                status = effects.take(self.headers["idempotency-key"], saga, self.path == "/undo")
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

            def handle_error(self, *_):
                pass  # The plane has been killed.

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    def judge(self, saga, state):
        """What is wrong with one that is over, or None."""
        done, undone = self.done.get(saga, []), self.undone.get(saga, [])
        if len(set(done)) != len(done):
            return f"done twice: {done}"
        if done != sorted(done):
            return f"out of order: {done}"
        if len(set(undone)) != len(undone):
            return f"undone twice: {undone}"
        if undone != sorted(undone, reverse=True):
            return f"undone out of order: {undone}"
        if state == "finished" and (done != list(range(1, STEPS + 1)) or undone):
            return f"finished with {done}, undone {undone}"
        if state == "compensated" and sorted(undone) != done:
            return f"compensated with {done}, undone {undone}"
        return None


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


class System:
    def __init__(self, weir, shim, effects):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="weir-sagas-"))
        self.port = free_port()
        self.order = self.folder + "/order"
        self.kills = {}
        self.begun = []
        self.lock = threading.Lock()
        port = effects.serve()
        services = "\n".join(f"  {name}: {{ at: [\"127.0.0.1:{port}\"] }}" for name in ("pay", "stock", "ship"))
        with open(self.folder + "/weir.yaml", "w") as file:
            file.write(f"""weir: 1
system: shop
gateway: {{ listen: {self.port}, routes: {{ all: {{ path: /**, to: orders }} }} }}
services:
  orders:
    run: {sys.executable} {PARTICIPANT} orders
    health: /healthz
    at-once: 64
    sends: [order]
{services}
sagas:
  order:
    steps:
      - {{ do: POST pay/do, undo: POST pay/undo }}
      - {{ do: POST stock/do, undo: POST stock/undo }}
      - {{ do: POST ship/do, undo: POST ship/undo }}
""")
        self.log = open(self.folder + "/weir.log", "wb")
        environment = dict(os.environ)
        if shim:
            environment |= {"LD_PRELOAD": shim, "WEIR_DIE_ORDER": self.order}
        self.run = subprocess.Popen(
            [weir, "run", self.folder + "/weir.yaml", "--state", self.folder + "/state", "--admin", "0"],
            stdout=self.log, stderr=self.log, cwd=self.folder, env=environment)

    def pid(self, what):
        """Of the plane or the state process; None while there is none."""
        try:
            if what == "plane":
                with open(self.folder + "/state/pids.json") as file:
                    pid = json.load(file)["plane"]["pid"]
                return pid if is_alive(pid) else None
            for name in os.listdir("/proc"):
                if name.isdigit():
                    with open(f"/proc/{name}/cmdline", "rb") as file:
                        words = file.read().decode(errors="replace").split("\0")
                    if len(words) > 2 and words[1] == "state" and self.folder in words[2] and is_alive(int(name)):
                        return int(name)
        except (OSError, KeyError, TypeError, ValueError):
            pass
        return None

    def expect(self, words, condition, seconds=120):
        deadline = time.time() + seconds
        while not condition():
            if self.run.poll() is not None:
                raise RuntimeError("the system has ended")
            if time.time() > deadline:
                raise RuntimeError(f"never came: {words}")
            time.sleep(0.01)

    def ask(self, path, body=None, fields={}):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=body, headers=fields, method="POST" if body else "GET")
        try:
            with urllib.request.urlopen(request, timeout=70) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, b""
        except (OSError, http.client.HTTPException):
            return 0, b""

    def begin(self, saga):
        """Until it is accepted; the same id begins it once."""
        fields = {"Send-Id": saga, "Content-Type": "application/json"}
        self.expect(f"{saga} is accepted", lambda: self.ask("/start", b"{}", fields)[0] == 202)
        with self.lock:
            self.begun.append(saga)

    def state(self, saga):
        status, body = self.ask(f"/state/{saga}")
        return json.loads(body)["state"] if status == 200 else None

    def is_over(self, saga):
        return self.state(saga) in ("finished", "compensated", "stuck")

    def gone(self, what, pid):
        """Counts a kill that is seen."""
        self.expect(f"{what} {pid} is gone", lambda: not is_alive(pid), 60)
        self.kills[what] = self.kills.get(what, 0) + 1

    def at_write(self, number, point, pid=0):
        with open(self.order + ".new", "w") as file:
            file.write(f"{number} {point} {pid}")
        os.rename(self.order + ".new", self.order)

    def sweep(self, kind):
        """A saga for each write that it causes, and two deaths there; how many writes there are."""
        number = 0
        while True:
            number += 1
            died = False
            for point in "ba":
                state = self.pid("state")
                while state is None:
                    time.sleep(0.01)
                    state = self.pid("state")
                saga = f"sweep-{kind}-{number}{point}"
                self.at_write(number, point)
                self.begin(saga)
                # What died on the way is judged in the end: one that was leased to nobody waits for its lease's end.
                self.expect(f"{saga} is over", lambda: not is_alive(state) or self.is_over(saga), 240)
                # The last writes are those that put it away.
                deadline = time.time() + 0.5
                while is_alive(state) and time.time() < deadline:
                    time.sleep(0.01)
                if not is_alive(state):
                    died = True
                    self.gone("state", state)
            if not died:
                return number - 1

    def planes(self, kind, writes):
        """The plane, at each tenth write; its sagas are another's when their leases are over."""
        for number in range(1, writes, 10):
            self.expect("a plane", lambda: self.pid("plane"))
            plane = self.pid("plane")
            self.at_write(number, "a", plane)
            self.begin(f"sweep-{kind}-p{number}")
            deadline = time.time() + 2
            while is_alive(plane) and time.time() < deadline:
                time.sleep(0.01)
            if not is_alive(plane):
                self.gone("plane", plane)
        self.at_write(1 << 40, "a")

    def chance(self, killed, seed):
        """At random moments, while sagas are begun."""
        over = threading.Event()
        failures = []

        def write(number):
            kinds = random.Random(seed + number)
            count = 0
            try:
                while not over.is_set():
                    # Few fail at first: a breaker that opens would have them all wait.
                    kind = kinds.choice(["good"] * 5 + ["bad2", "bad3"] * 3 + ["lost", "busy"])
                    self.begin(f"{kind}-{number}x{count}")
                    count += 1
                    time.sleep(kinds.uniform(0, 0.3))
            except RuntimeError as error:
                failures.append(error)

        writers = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(4)]
        for writer in writers:
            writer.start()
        killer = random.Random(seed)
        while sum(self.kills.values()) < killed and not failures:
            time.sleep(killer.uniform(0.05, 0.7))
            what = killer.choice(["plane", "state"])
            pid = self.pid(what)
            if pid is None:
                continue
            os.kill(pid, signal.SIGKILL)
            self.gone(what, pid)
            # What nobody could have begun would be no test of anything.
            before = len(self.begun)
            self.expect("sagas are begun again", lambda: len(self.begun) > before or failures)
        over.set()
        for writer in writers:
            writer.join(150)
        if failures:
            raise failures[0]

    def end(self):
        self.run.send_signal(signal.SIGINT)
        try:
            self.run.wait(60)
        except subprocess.TimeoutExpired:
            self.run.kill()
        for what in ("plane", "state"):
            pid = self.pid(what)
            if pid:
                os.kill(pid, signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weir", required=True)
    parser.add_argument("--shim")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--forgets", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    effects = Effects(options.forgets)
    system = System(options.weir, options.shim, effects)
    failed = None
    writes = {}
    ends = {}
    violations = []
    try:
        system.expect("the system serves", lambda: system.ask("/healthz")[0] == 200)
        if options.shim:
            for kind in ("good", "bad3"):
                writes[kind] = system.sweep(kind)
                print(f"{kind}: the state process was killed at each of {writes[kind]} writes, {system.kills}", flush=True)
            for kind in ("good", "bad3"):
                system.planes(kind, writes[kind])
            print(f"the plane, too: {system.kills}", flush=True)
        # However many there were: a quarter of N are at random.
        system.chance(max(options.kills, sum(system.kills.values()) + options.kills // 4), options.seed)
        # What a dead plane had in hand is another's when its lease is over, after 60 s.
        for saga in system.begun:
            system.expect(f"{saga} is over", lambda: system.is_over(saga), 300)
            ends[saga] = system.state(saga)
        for saga, state in ends.items():
            wrong = f"it is {state}" if state not in ("finished", "compensated") else effects.judge(saga, state)
            if wrong:
                violations.append(f"{saga}: {wrong}")
        known = set(system.begun)
        violations += [f"{saga}: nobody began it" for saga in effects.done if saga not in known]
        violations += [f"a strange key: {key}" for key in effects.strange]
        states = list(ends.values())
        calls = sum(effects.calls.values())
        print(json.dumps({
            "seed": options.seed, "kills": system.kills, "writes": writes, "sagas": len(ends),
            "finished": states.count("finished"), "compensated": states.count("compensated"),
            "calls": calls, "calls again": calls - len(effects.calls), "violations": len(violations)}))
        if sum(system.kills.values()) < options.kills or min(states.count("finished"), states.count("compensated")) < 1:
            failed = f"too little was tried: {system.kills}"
        if violations:
            failed = "\n".join(violations[:20])
    except RuntimeError as error:
        failed = str(error)
    finally:
        system.end()
    if failed:
        sys.exit(f"{failed}\nkept: {system.folder}\n" + open(system.folder + "/weir.log", errors="replace").read()[-2000:])
    shutil.rmtree(system.folder, ignore_errors=True)


if __name__ == "__main__":
    main()

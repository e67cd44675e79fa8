#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything goes wrong for a long time, and nothing may leak, hang or stay broken.

  soak.py run --bin FOLDER [--minutes 30] [--rate 150] [--loops 2] [--seed 1] [--keep]
  soak.py peer --port P            the upstream that breaks HTTP now and then; `run` starts it through Weir

`weir run` serves the notes' example and a rude upstream under open-loop load (`weir-example load`), while
- instances are killed (kill -9), answer 500, are slow, hang, close, say that they are ill; sometimes all of a service;
- clients close half of their connection, send a byte at a time, go away in the middle, pipeline, talk nonsense;
- the rude upstream cuts its answers, closes halves, sends nonsense;
- the file changes and SIGHUP comes, when this weir reloads (found out by trying it on a weir of its own).
The last part is calm. Then the verdict: exit code 1 if anything of it fails.

  memory       the plane's resident memory, last quarter of the trouble against its second: at most a tenth more, and 16 MiB
  descriptors  in the calm: at most those of before the load, pooled connections to each instance, and the clients'
  unanswered   requests of the load and of well-behaved rude clients that got no answer: none
  reasons      answers of 4xx and 5xx that no program gave and that have no reason in the access log, internal errors: none
  log          requests that were answered and have no line in the access log: none
  breakers     open or probing for more than a minute after what they watch is well: none
  end          Ctrl-C ends with 0 and leaves no process
"""

import argparse
import glob
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TOKEN = "soak"
# A breaker rests 1 s, and each time in a row half as much longer: after a fault of at most 8 s the longest rest is 6 s, with
# its jitter 7. A minute is far above that, and above health checks and restarts.
WELL_AFTER = 60
ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------------------------------------------------------- the peer


def peer(o):
    """Answers most requests well; some of them wrongly, each in another way. Health checks are always answered."""
    chance = random.Random(o.port)

    def serve(c):
        try:
            c.settimeout(20)
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = c.recv(65536)
                    if not more:
                        return
                    data += more
                head, data = data.split(b"\r\n\r\n", 1)
                way = "well" if b" /healthz " in head.split(b"\r\n")[0] + b" " else chance.choices(
                    ["well", "cut", "half", "silent", "reset", "nonsense", "bytewise", "early"], [60, 6, 6, 3, 6, 6, 6, 7])[0]
                if way == "well":
                    c.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell")
                elif way == "cut":
                    c.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\nnot all of it")
                    return
                elif way == "half":
                    c.shutdown(socket.SHUT_WR)
                    while c.recv(65536):
                        pass
                    return
                elif way == "silent":
                    time.sleep(3)
                    return
                elif way == "reset":
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                elif way == "nonsense":
                    c.sendall(b"HTTP/1.1 2OO OK\r\nno such field\r\n\r\n")
                    return
                elif way == "bytewise":
                    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow":
                        c.sendall(bytes([byte]))
                        time.sleep(0.005)
                elif way == "early":
                    c.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwell")
                    c.shutdown(socket.SHUT_WR)
                    time.sleep(0.2)
                    return
        except OSError:
            pass
        finally:
            c.close()

    with socket.create_server(("127.0.0.1", o.port), backlog=1024) as s:
        while True:
            c, _ = s.accept()
            threading.Thread(target=serve, args=(c,), daemon=True).start()


# ----------------------------------------------------------------------------------------------------------- rude clients


class Rude:
    """Clients that behave badly, in threads; each kind counts what it asked, got, and never got."""

    def __init__(self, port, chance):
        self.port, self.chance, self.stop = port, chance, threading.Event()
        self.lock, self.counts = threading.Lock(), {}
        self.threads = [threading.Thread(target=self.loop, args=(random.Random(chance.random()),), daemon=True) for _ in range(8)]
        for t in self.threads:
            t.start()

    def count(self, kind, what):
        with self.lock:
            self.counts.setdefault(kind, {"asked": 0, "answered": 0, "unanswered": 0})[what] += 1

    def connect(self):
        # Addresses of their own: one address may open only so many connections a second.
        c = socket.socket()
        c.bind((f"127.2.0.{random.randrange(1, 250)}", 0))
        c.settimeout(30)
        c.connect(("127.0.0.1", self.port))
        return c

    def loop(self, chance):
        kinds = [self.half, self.bytewise, self.gone, self.pipelined, self.nonsense, self.half_head, self.rude_upstream]
        while not self.stop.wait(chance.uniform(0.05, 0.4)):
            kind = chance.choice(kinds)
            try:
                with self.connect() as c:
                    kind(c, chance)
            except ConnectionRefusedError:
                self.count("refused connections", "unanswered")
            except OSError:
                pass

    def expect(self, c, kind, answers=1):
        """So many answers, or it is unanswered."""
        for _ in range(answers):
            self.count(kind, "asked")
        got, data = 0, b""
        try:
            while got < answers:
                more = c.recv(65536)
                if not more:
                    break
                data += more
                got = data.count(b"HTTP/1.1 ") - data.count(b"HTTP/1.1 100")
        except OSError:
            pass
        for i in range(answers):
            self.count(kind, "answered" if i < got else "unanswered")

    def half(self, c, _):
        """All of the request, then the end of its half: the answer is still wanted (RFC 9112 §9.6 does not forbid it)."""
        c.sendall(b"GET /api/notes HTTP/1.1\r\nhost: soak\r\n\r\n")
        c.shutdown(socket.SHUT_WR)
        self.expect(c, "half-closed")

    def bytewise(self, c, chance):
        for byte in b"GET /api/notes?limit=3 HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n":
            c.sendall(bytes([byte]))
            time.sleep(chance.uniform(0, 0.02))
        self.expect(c, "a byte at a time")

    def gone(self, c, chance):
        c.sendall(b"GET /api/search?q=note HTTP/1.1\r\nhost: soak\r\n\r\n")
        time.sleep(chance.uniform(0, 0.02))
        if chance.random() < 0.5:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def pipelined(self, c, _):
        c.sendall(b"GET /api/notes?limit=2 HTTP/1.1\r\nhost: soak\r\n\r\n" * 4)
        self.expect(c, "pipelined", 4)

    def nonsense(self, c, chance):
        c.sendall(chance.choice([b"GET  / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"])
                  + b"\r\n\r\n")
        self.expect(c, "nonsense")

    def half_head(self, c, chance):
        c.sendall(b"POST /api/notes HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"text")
        time.sleep(chance.uniform(0, 1))

    def rude_upstream(self, c, chance):
        # Cut answers are cut here too; that something comes, and in time, is all that can be asked.
        c.sendall(b"GET /rude HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n")
        self.expect(c, "of the rude upstream")

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(35)
        return self.counts


# ------------------------------------------------------------------------------------------------------------ the system


class System:
    """`weir run` on a copy of the example, with faults that can be set and a rude upstream."""

    def __init__(self, o, folder):
        self.o, self.folder, self.port = o, folder, free_port()
        self.file, self.state = folder / "weir.yaml", folder / "state"
        self.version = 0
        folder.mkdir()
        self.write()
        self.env = {**os.environ, "PATH": f"{o.bin}:{os.environ['PATH']}"}
        self.out = open(folder / "log", "wb")
        self.run = subprocess.Popen(
            [o.bin / "weir", "run", "weir.yaml", "--state", "state", "--admin", "0", "--view", "lines", "--loops", str(o.loops)],
            cwd=folder, env=self.env, stdout=self.out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)

    def write(self):
        """The example's file; each version has another limit, which nobody reaches, so that a reload changes something."""
        self.version += 1
        lines = []
        for line in (ROOT / "examples/webapp/weir.yaml").read_text().splitlines():
            if line.startswith("  listen:"):
                line = f"  listen: {{ port: {self.port}, host: 127.0.0.1 }}"
            if line.startswith("    run: "):
                line = f"    run: {{ command: \"{line[9:]}\", env: {{ WEIR_EXAMPLE_FAULTS: {TOKEN} }} }}"
            if line.startswith("    api: {"):
                lines.append("    rude: { path: /rude, to: rude }")
                line = line.replace("rate: 500/s", f"rate: {2000 + self.version}/s").replace("burst: 500", "burst: 2000")
            if line == "services:":
                lines.append("defaults: { call: { breaker: { rest: 1s } } }")
                lines.append("services:")
                line = (f"  rude:\n    run: python3 {pathlib.Path(__file__).resolve()} peer --port $PORT\n"
                        "    instances: 2\n    health: /healthz")
            lines.append(line)
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.file)

    def status(self):
        try:
            text = subprocess.run([self.o.bin / "weir", "status", self.file, "--state", self.state, "--format", "json"],
                                  capture_output=True, text=True, timeout=20)
            return json.loads(text.stdout) if text.returncode == 0 else None
        except (subprocess.TimeoutExpired, json.JSONDecodeError):
            return None

    @staticmethod
    def instances(status):
        return [dict(i, service=s["name"]) for s in status["services"] for i in s["instances"] if i.get("pid")]

    def ready(self):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.run.poll() is None:
            now = self.status()
            if now and all(i["state"] == "ready" for i in self.instances(now)) and len(self.instances(now)) == 8:
                return
            time.sleep(0.1)
        sys.exit("the system does not get ready:\n" + (self.folder / "log").read_text())

    def plane(self):
        try:
            return json.loads((self.state / "pids.json").read_text())["plane"]["pid"]
        except (OSError, KeyError, TypeError, json.JSONDecodeError):
            return None

    def fault(self, instance, fault):
        request = urllib.request.Request(f"http://{instance['address']}/faults", json.dumps(fault).encode(),
                                         {"x-fault-token": TOKEN, "content-type": "application/json"}, method="POST")
        try:
            urllib.request.urlopen(request, timeout=5).read()
        except OSError:
            pass  # It may just have been killed; a new process has no faults.

    def end(self):
        if self.run.poll() is None:
            self.run.send_signal(signal.SIGINT)
        try:
            return self.run.wait(90)
        except subprocess.TimeoutExpired:
            self.run.kill()
            return None

    def left(self):
        """Processes that carry our folder in their words or their environment."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                words = (entry / "cmdline").read_bytes()
                if words and str(self.folder).encode() in words + (entry / "environ").read_bytes():
                    found.append(words.replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                pass
        return found


def memory(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Log(threading.Thread):
    """Reads the access log as it is written, through rotations, and keeps what has no reason."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.stop, self.lines, self.bad = path, threading.Event(), 0, []
        self.requests, self.reasons, self.events = 0, {}, {}

    def run(self):
        file, rest = None, b""
        while True:
            ending = self.stop.is_set()
            if file is None and self.path.exists():
                file = open(self.path, "rb")
            if file is not None:
                rest = self.take(rest + file.read())
                try:
                    if os.fstat(file.fileno()).st_ino != self.path.stat().st_ino:
                        rest = self.take(rest + file.read())
                        file, rest = open(self.path, "rb"), b""
                        continue
                except OSError:
                    pass
            if ending:
                return
            self.stop.wait(0.5)

    def take(self, data):
        *lines, rest = data.split(b"\n")
        for line in lines:
            if not line:
                continue
            self.lines += 1
            try:
                entry = json.loads(line)
            except ValueError:
                self.bad.append(f"not JSON: {line[:200]!r}")
                continue
            if entry.get("type") == "event":
                kind = entry.get("kind", "?")
                self.events[kind] = self.events.get(kind, 0) + 1
                continue
            self.requests += 1
            reason = entry.get("reason")
            if reason:
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
            if reason == "internal-error":
                self.bad.append(f"internal error: {line.decode(errors='replace')}")
            # A status of its own that no instance gave, and nobody says why.
            if entry.get("status", 0) >= 400 and not reason and not entry.get("instance"):
                self.bad.append(f"no reason: {line.decode(errors='replace')}")
        return rest


# --------------------------------------------------------------------------------------------------------------- trouble


class Trouble(threading.Thread):
    """Sets faults at random and takes them back; knows since when each instance is well."""

    def __init__(self, system, chance, reloads):
        super().__init__(daemon=True)
        self.system, self.chance, self.reloads = system, chance, reloads
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.ill, self.well, self.done = {}, {}, {}

    def note(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def since(self, name):
        """Since when an instance is well; nil: it is not."""
        with self.lock:
            return None if name in self.ill else self.well.get(name, 0)

    def run(self):
        while not self.stop.wait(self.chance.uniform(0.5, 3)):
            self.heal(time.monotonic())
            status = self.system.status()
            if not status:
                continue
            everyone = [i for i in self.system.instances(status) if i["service"] != "rude"]
            if not everyone:
                continue
            kind = self.chance.choices(["kill", "500", "slow", "hang", "close", "ill", "all", "reload"], [5, 5, 4, 2, 3, 2, 1, 3])[0]
            one = self.chance.choice(everyone)
            if kind == "kill":
                os.kill(one["pid"], signal.SIGKILL)
                self.note("kill -9")
                with self.lock:
                    self.well[one["name"]] = time.monotonic() + 10
            elif kind == "reload":
                if self.reloads:
                    self.system.write()
                    self.system.run.send_signal(signal.SIGHUP)
                    self.note("reload")
            elif kind == "all":
                service = self.chance.choice(["api", "search"])
                for i in everyone:
                    if i["service"] == service:
                        self.set(i, {"status": 500}, self.chance.uniform(2, 5))
                self.note(f"500 from all of a service")
            else:
                share = self.chance.choice([None, 0.3])
                fault = {"500": {"status": 500}, "slow": {"slow": f"{self.chance.randrange(100, 3000)}ms"}, "hang": {"hang": True},
                         "close": {"close": True}, "ill": {"health": False}}[kind]
                if share and kind != "ill":
                    fault["share"] = share
                self.set(one, fault, self.chance.uniform(1, 8))
                self.note(kind)

    def set(self, instance, fault, length):
        with self.lock:
            self.ill[instance["name"]] = (time.monotonic() + length, instance)
        self.system.fault(instance, fault)

    def heal(self, until):
        with self.lock:
            over = [(n, i) for n, (end, i) in self.ill.items() if end <= until]
        for name, instance in over:
            self.system.fault(instance, {})
            with self.lock:
                self.ill.pop(name, None)
                self.well[name] = max(self.well.get(name, 0), time.monotonic())

    def end(self):
        self.stop.set()
        self.join()
        self.heal(float("inf"))


def reloads(o, folder):
    """Whether this weir reloads on SIGHUP: one that does not takes it for a closed terminal and ends."""
    system = System(o, folder)
    system.ready()
    system.write()
    system.run.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while time.monotonic() < end and system.run.poll() is None:
        time.sleep(0.1)
    lives = system.run.poll() is None
    system.end()
    return lives


# ---------------------------------------------------------------------------------------------------------------- the run


def run(o):
    chance = random.Random(o.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-soak-")).resolve()
    say = lambda text: print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
    verdict = []
    claim = lambda holds, what, figures: verdict.append((holds, what, figures))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    say(f"the folder is {folder}")
    can = reloads(o, folder / "try")
    say("reloads on SIGHUP: part of the trouble" if can else "this weir does not reload on SIGHUP (it ends): reloads are left out")
    system = System(o, folder / "soak")
    try:
        system.ready()
        plane = system.plane()
        fresh = descriptors(plane)
        seconds = o.minutes * 60
        # The calm is long enough for the breakers' minute.
        calm = WELL_AFTER + 20
        trouble_for = max(30, seconds - calm)
        log = Log(system.state / "logs/access.log")
        log.start()
        # Into a file: its report on half an hour is longer than a pipe that nobody reads until its end.
        loader = subprocess.Popen(
            [o.bin / "weir-example", "load", "--target", f"http://127.0.0.1:{system.port}", "--mix", ROOT / "examples/webapp/load.json",
             "--rate", str(o.rate), "--for", f"{int(trouble_for + calm)}s", "--timeout", "30s", "--format", "json", "--seed", str(o.seed)],
            env=system.env, stdout=open(folder / "load.json", "w"))
        rude, trouble = Rude(system.port, chance), Trouble(system, random.Random(o.seed), can)
        time.sleep(2)
        trouble.start()
        began, samples, wedged, told = time.monotonic(), [], {}, 0
        planes = {plane}
        calm_since = None
        while loader.poll() is None:
            time.sleep(1)
            at = time.monotonic() - began
            if at >= trouble_for and calm_since is None:
                trouble.end()
                unanswered = rude.end()
                calm_since = time.monotonic()
                say(f"calm: {trouble.done}")
            now = system.status()
            plane = system.plane() or plane
            planes.add(plane)
            try:
                samples.append((at, memory(plane), descriptors(plane), memory(system.run.pid), descriptors(system.run.pid)))
            except OSError:
                continue
            if now:
                watch(now, trouble, wedged)
            if at - told >= 60:
                told = at
                say(f"{at / 60:.0f} min: plane {samples[-1][1]:.1f} MiB, {samples[-1][2]} descriptors; keeper {samples[-1][3]:.1f} MiB, "
                    f"{samples[-1][4]}; access log {log.lines} lines")
        report = json.loads((folder / "load.json").read_text())
        # Connections that are kept alive on either side end with their idle times; what is pooled may stay.
        last = system.status() or {"calls": [], "services": []}
        watch(last, trouble, wedged)
        final = descriptors(plane)
        code = system.end()
        log.stop.set()
        log.join(10)
        left = system.left()

        trouble_samples = [s for s in samples if s[0] < trouble_for]
        quarter = max(1, len(trouble_samples) // 4)
        early = statistics.median(s[1] for s in trouble_samples[quarter : 2 * quarter])
        late = statistics.median(s[1] for s in trouble_samples[-quarter:])
        claim(late <= max(early * 1.1, early + 16), "memory", f"plane {early:.1f} MiB in the second quarter, {late:.1f} in the last, "
              f"at most {max(s[1] for s in samples):.1f}; keeper {samples[0][3]:.1f} to {samples[-1][3]:.1f}")
        # By loop, edge and instance at most as many pooled connections as calls were at once; the load holds 64 of its own.
        allowed = fresh + 64 + 32 * 10 * o.loops
        early_fds = statistics.median(s[2] for s in trouble_samples[quarter : 2 * quarter])
        late_fds = statistics.median(s[2] for s in trouble_samples[-quarter:])
        claim(late_fds <= early_fds * 1.25 + 32 and final <= allowed and samples[-1][4] <= samples[0][4] + 4, "descriptors",
              f"plane {fresh} before the load, {early_fds:.0f} in the second quarter, {late_fds:.0f} in the last, {final} after the calm "
              f"(at most {allowed}); keeper {samples[0][4]} to {samples[-1][4]}")
        lost = {k: v for k, v in report["failures"].items() if v}
        rude_lost = {k: v["unanswered"] for k, v in unanswered.items() if v["unanswered"] and k != "of the rude upstream"}
        claim(not lost and not rude_lost, "unanswered", f"load {report['offered']} offered, {report['done']} answered {report['statuses']}"
              f"{', lost ' + str(lost) if lost else ''}; rude clients " + ", ".join(
                  f"{k} {v['answered']}/{v['asked']}" for k, v in sorted(unanswered.items())))
        claim(not log.bad, "reasons", f"{log.lines} lines of the access log; reasons {dict(sorted(log.reasons.items()))}"
              + "".join(f"\n    {b}" for b in log.bad[:5]) + (f"\n    and {len(log.bad) - 5} more" if len(log.bad) > 5 else ""))
        answered = report["done"] + sum(v["answered"] for v in unanswered.values())
        claim(log.requests >= answered, "log", f"{log.requests} requests in the access log, at least {answered} were answered")
        claim(not wedged, "breakers", "none was open a minute after what it watches was well" if not wedged else
              ", ".join(f"{k} for {v:.0f} s" for k, v in wedged.items()))
        claim(code == 0 and not left and len(planes) == 1, "end", f"exit code {code}, left {left}, {len(planes)} plane(s)")
        crashes = [line for line in (folder / "soak/log").read_text(errors="replace").splitlines() if "Fatal error" in line]
        claim(not crashes, "crashes", f"{len(crashes)} {crashes[:3]}")
        print(f"\n{o.minutes} minutes, seed {o.seed}, {o.loops} loops, {report['offeredRate']:.0f} requests/s and 8 rude clients; "
              f"trouble {dict(sorted(trouble.done.items()))}; events {dict(sorted(log.events.items()))}; "
              f"reloads {'in it' if can else 'not supported by this weir'}")
        for holds, what, figures in verdict:
            print(f"{'holds' if holds else 'FAILS'}  {what}: {figures}")
        return 0 if all(v[0] for v in verdict) else 1
    finally:
        system.end()
        if o.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def watch(status, trouble, wedged):
    """Breakers that are not closed though what they watch has been well for a minute."""
    now = time.monotonic()
    ready = {i["name"]: i["state"] == "ready" for s in status["services"] for i in s["instances"]}
    for call in status["calls"]:
        if call["callee"] == "rude":
            continue  # It is never well.
        well = []
        for b in call["breakers"]:
            since = trouble.since(b["instance"])
            if since is None or not ready.get(b["instance"], True):
                well.append(now)
                continue
            well.append(since)
            if since and b["state"] != "closed" and now - since > WELL_AFTER:
                wedged[f"{call['caller']} → {b['instance']} {b['state']}"] = now - since
        since = max(well, default=0)
        if since and call.get("breaker", "closed") != "closed" and now - since > WELL_AFTER:
            wedged[f"{call['caller']} → {call['callee']} {call['breaker']}"] = now - since


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("peer")
    verb.add_argument("--port", type=int, required=True)
    verb = verbs.add_parser("run")
    verb.add_argument("--bin", required=True, type=lambda p: pathlib.Path(p).resolve())
    verb.add_argument("--minutes", type=float, default=30)
    verb.add_argument("--rate", type=float, default=150)
    verb.add_argument("--loops", type=int, default=2)
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--keep", action="store_true")
    o = parser.parse_args()
    sys.exit(peer(o) if o.verb == "peer" else run(o))


main()

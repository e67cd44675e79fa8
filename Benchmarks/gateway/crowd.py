#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A crowd on one gateway: idle keep-alive connections and what they cost, slow senders and whether others feel them.

  crowd.py --weir PATH [--idle 10000] [--slow 2000] [--seconds 10] [--rounds 3] [--only weir,haproxy,nginx]

Idle: so many connections, each with one request answered, then left open: memory of the proxy before and after.
Slow: so many connections that send a request's head one byte a second, beside wrk on 32 kept connections; the same
load alone before and after. What counts is the move of wrk's p99. Both cores are shared by all of it, load generator included.
"""
import argparse, importlib.util, pathlib, re, resource, socket, statistics, subprocess, sys, threading, time

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("bench", HERE / "bench.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)

HEAD = b"GET /crowd HTTP/1.1\r\nHost: localhost\r\nUser-Agent: crowd/1.0\r\n"


def connect(port, count, then=lambda s: None):
    made = []
    for i in range(count):
        # Several addresses of this machine: one has not ports enough beside what else runs.
        s = socket.socket()
        s.bind((f"127.0.0.{2 + i // 5000}", 0))
        s.connect(("127.0.0.1", port))
        then(s)
        made.append(s)
    return made


def idle(port, process, count):
    before = bench.memory(process.pid)
    def ask(s):
        s.sendall(HEAD + b"\r\n")
        answer = s.recv(65536)
        if b" 200 " not in answer:
            sys.exit(f"the request of an idle connection was answered with {answer[:200]}")

    crowd = connect(port, count, ask)
    after = bench.memory(process.pid)
    time.sleep(2)
    open_ = 0
    for s in crowd:
        s.setblocking(False)
        try:
            open_ += s.recv(1) != b""
        except BlockingIOError:
            open_ += 1
        s.close()
    return {"before": before / 2**20, "after": after / 2**20, "open": open_}


class SlowSenders:
    """A thread that sends a byte a second on each of so many connections, as long as they are taken."""

    def __init__(self, port, count):
        self.over = threading.Event()
        self.crowd = connect(port, count)
        self.cut = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        text = HEAD + b"X-Filler: " + b"x" * 4000
        left = list(self.crowd)
        for i in range(len(text)):
            began = time.monotonic()
            still = []
            for s in left:
                try:
                    s.send(text[i:i + 1])
                    still.append(s)
                except OSError:
                    self.cut += 1
            left = still
            if self.over.wait(max(0.0, 1 - (time.monotonic() - began))):
                break
        for s in self.crowd:
            s.close()

    def end(self):
        self.over.set()
        self.thread.join()


def p99(port, seconds):
    text = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"],
                          capture_output=True, text=True, check=True).stdout
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    if re.search(r"Non-2xx", text):
        sys.exit(f"not a clean run: {text}")
    return float(found[1]) * {"us": 1e-3, "ms": 1, "s": 1e3}[found[2]], rate


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=2_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="weir,haproxy,nginx")
    mine = parser.parse_args()
    wanted = mine.idle + mine.slow + 1000
    hard = max(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except ValueError:
        sys.exit(f"{wanted} open files are needed: raise the hard limit (ulimit -Hn {wanted}), or take fewer connections")
    options = argparse.Namespace(
        weir=mine.weir, size=1024, connections=64, only=mine.only, routes="", instances="", syscalls=False, preload="",
        weir_option=[], unix=False, tls=False, handshakes=False, http2=False)
    run = bench.Bench(options)
    run.connections_max = mine.idle + mine.slow + 200
    try:
        rows = []
        for name, (port, process, _) in run.proxies().items():
            p99(port, 2)
            held = idle(port, process, mine.idle)
            alone, beside, cut = [], [], 0
            for _ in range(mine.rounds):
                alone.append(p99(port, mine.seconds))
                senders = SlowSenders(port, mine.slow)
                beside.append(p99(port, mine.seconds))
                senders.end()
                cut = max(cut, senders.cut)
            a, b = (statistics.median(x[0] for x in rows_) for rows_ in (alone, beside))
            ra, rb = (statistics.median(x[1] for x in rows_) for rows_ in (alone, beside))
            rows.append(f"| {name} | {held['before']:.0f} | {held['after']:.0f} | "
                        f"{(held['after'] - held['before']) * 1024 / mine.idle:.1f} | {held['open']} | {a:.2f} | {b:.2f} | "
                        f"{(b / a - 1) * 100:+.0f} % | {ra:.0f} | {rb:.0f} |")
    finally:
        run.stop_all()
    print(f"| proxy | MiB before | MiB with {mine.idle} idle | KiB each | still open | p99 ms alone | p99 ms beside {mine.slow} slow "
          "senders | move | requests/s alone | beside |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


main()

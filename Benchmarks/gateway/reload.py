#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a reload takes with many routes, and what requests beside it feel (RP-13: 1 000 routes within 100 ms).

  reload.py --weir PATH [--routes 1000] [--services 100] [--reloads 20] [--markdown]

The file changes one route's limit each time. *Whole*: from the question of `POST /reload` to its answer, reading and checking the
file included. *By Weir*: what it says it took, from the beginning of reading to the first request by the new plan. Beside it one
client asks without a pause on a kept connection: its slowest request while reloads run, and while none does.
"""
import argparse, http.client, importlib.util, json, pathlib, shutil, signal, socket, statistics, subprocess, sys, tempfile
import threading, time

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("bench", HERE / "bench.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


class Local(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Asker:
    """Asks on one kept connection, one request after another, and keeps the longest time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.over, self.slowest, self.count, self.wrong = threading.Event(), 0.0, 0, 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            start = time.perf_counter()
            self.socket.sendall(b"GET /fixed HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = self.socket.recv(4096)
            self.slowest = max(self.slowest, time.perf_counter() - start)
            self.count += 1
            self.wrong += b" 200 " not in answer
            time.sleep(0.001)

    def end(self):
        self.over.set()
        self.thread.join()
        self.socket.close()
        return self


def text(port, options, turn):
    lines = ["weir: 1", "system: reload", "gateway:", f"  listen: {port}", "  flood: { connections: none, limit: none }", "  routes:",
             "    fixed: { path: /fixed, answer: { status: 200, body: ok } }"]
    for i in range(options.routes):
        rate = 1000 + turn if i == 0 else 1000
        lines.append(f"    r{i}: {{ path: /api/{i % 37}/things-{i}/**, to: s{i % options.services}, limit: {{ rate: {rate}/s, by: client }} }}")
    lines.append("services:")
    for i in range(options.services):
        lines.append(f'  s{i}: {{ at: ["127.0.0.1:9"] }}')
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
    port = bench.free_port()
    file = folder / "weir.yaml"
    file.write_text(text(port, options, 0))
    log = open(folder / "log", "wb")
    process = subprocess.Popen([options.weir, "run", str(file), "--access-log", "off", "--admin", "0", "--no-watch", "--view", "lines",
                                "--state", str(folder / "state")], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit((folder / "log").read_text())
                time.sleep(0.05)
        # What begins slowly is not what is asked here.
        Asker(port).end()
        time.sleep(2)
        quiet = Asker(port)
        time.sleep(2)
        quiet.end()
        beside = Asker(port)
        whole, exchange = [], []
        for turn in range(1, options.reloads + 1):
            file.write_text(text(port, options, turn))
            connection = Local(folder / "state" / "admin.sock")
            start = time.perf_counter()
            connection.request("POST", "/reload")
            answer = connection.getresponse()
            body = json.loads(answer.read())
            whole.append((time.perf_counter() - start) * 1000)
            connection.close()
            if body["result"] != "reloaded":
                sys.exit(f"not reloaded: {body}")
            exchange.append(body["milliseconds"])
        beside.end()
        if beside.wrong or quiet.wrong:
            sys.exit(f"{beside.wrong + quiet.wrong} requests were not answered with 200")
        def row(values):
            return f"{statistics.median(values):.1f}", f"{max(values):.1f}"
        rows = [("whole, ms", *row(whole)), ("by Weir, ms", *row(exchange))]
        if options.markdown:
            print(f"| {options.routes} routes, {options.reloads} reloads | median | slowest |\n|---|---|---|")
        for row_ in rows:
            print("| " + " | ".join(row_) + " |" if options.markdown else "{:14} median {:>8}  slowest {:>8}".format(*row_))
        print(f"slowest request beside: {beside.slowest * 1000:.1f} ms of {beside.count}; without reloads {quiet.slowest * 1000:.1f} ms of {quiet.count}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

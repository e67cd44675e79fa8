#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shop's `burst` as `weir simulate` tells it, beside a run of it: how many mails wait, how long, and when they are gone.

  shop.py --bin FOLDER [--runs 1]

The run is `weir run` of a copy of examples/shop on a free port. Orders come as in the scenario: 2 a second all the time, and
18 more for a minute (examples/shop/crowd.py, Poisson, waits for no answer). The queue is read twice a second from the plane's status.
The forecast's figures are means over replications; a run is one of them, so it is held against their middle.
"""
import argparse, json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, time

QUIET, BURST, TOTAL = 30, 60, 240  # seconds, as in the scenario; a run ends when the mails are gone


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def asked(o, home, *words):
    done = subprocess.run([o.bin / "weir", *words, "--state", home / "state", "--format", "json"], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None


def emails(o, home):
    for queue in asked(o, home, "queue", "list", "--file", str(home / "weir.yaml")) or []:
        if queue["name"] == "emails":
            return queue
    return None


def run(o, folder, number):
    home = folder / str(number)
    shutil.copytree("examples/shop", home, ignore=shutil.ignore_patterns("__pycache__", "data"))
    port = free_port()
    file = home / "weir.yaml"
    file.write_text(file.read_text().replace("listen: 8080", f"listen: {{ port: {port}, host: 127.0.0.1 }}").replace(":8080/", f":{port}/"))
    env = {**os.environ, "PATH": f"{o.bin}:{os.environ['PATH']}"}
    weir = subprocess.Popen([o.bin / "weir", "run", "weir.yaml", "--state", home / "state", "--admin", "off", "--view", "lines"],
                            cwd=home, env=env, stdout=open(home / "log", "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            now = asked(o, home, "status", str(file))
            if now and all(i["state"] == "ready" for s in now["services"] for i in s["instances"]):
                break
            if time.monotonic() > end or weir.poll() is not None:
                sys.exit((home / "log").read_text())
            time.sleep(0.2)
        crowd = [sys.executable, "crowd.py", "--target", f"http://127.0.0.1:{port}"]
        begin = time.monotonic()
        crowds = [subprocess.Popen(crowd + ["--rate", "2", "--seed", str(2 * number), "--for", f"{TOTAL}s"], cwd=home, stdout=subprocess.DEVNULL)]
        peak = (0, begin)
        oldest, drained = 0.0, None
        while (at := time.monotonic()) < begin + TOTAL:
            if len(crowds) == 1 and at > begin + QUIET:
                crowds.append(subprocess.Popen(crowd + ["--rate", "18", "--seed", str(2 * number + 1), "--for", f"{BURST}s"], cwd=home, stdout=subprocess.DEVNULL))
            queue = emails(o, home)
            if queue:
                waiting = queue["waiting"] + queue["delayed"]
                if waiting > peak[0]:
                    peak, drained = (waiting, at), None
                elif at > begin + QUIET + BURST and waiting <= peak[0] / 100:
                    drained = at
                    break
                oldest = max(oldest, queue.get("oldest", 0))
                if o.verbose:
                    print(f"{at - begin:6.1f} s  {queue}", file=sys.stderr)
                elif sys.stderr.isatty():
                    print(f"\r{at - begin:4.0f} of {TOTAL} s, {waiting} mails wait ", end="", file=sys.stderr)
            time.sleep(0.5)
        for one in crowds:
            one.terminate()
            one.wait(60)
        return peak[0], oldest, drained - peak[1] if drained else float("nan")
    finally:
        weir.send_signal(signal.SIGINT)
        weir.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="every reading of the queue")
    o = parser.parse_args()
    done = subprocess.run([o.bin / "weir", "simulate", "examples/shop/weir.yaml", "--format", "json", "--replications", "20"], capture_output=True, text=True)
    burst = next(f for f in json.loads(done.stdout)["forecasts"] if f.get("scenario") == "burst")
    queue = next(q for q in burst["queues"] if q["name"] == "emails")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-shop-"))
    try:
        runs = [run(o, folder, n + 1) for n in range(o.runs)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| emails | forecast (95 %) | run | difference | goal |\n|---|---|---|---|---|")
    for i, (label, key, goal) in enumerate([("peak waiting", "peak", ""), ("oldest waited, s", "oldest", ""), ("drained after, s", "drain", "±10 %")]):
        want = queue[key]
        mean = sum(r[i] for r in runs) / len(runs)
        print(f"| {label} | {want['value']:.1f} ({want['low']:.1f}–{want['high']:.1f}) | {', '.join(f'{r[i]:.1f}' for r in runs)} | {(mean / want['value'] - 1) * 100:+.1f} % | {goal} |")


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The incident as it happens: the files are simulated and run, and the phantom deductions counted; a Markdown table.

  play.py --bin FOLDER [--orders 4600] [--rate 60] [--only weir.yaml|mended.yaml]

Each file is run from a copy on a free port, with `weir run --scenario glitch`, without the quiet minute before the glitch.
Of 4 600 orders a fifth is more than the 800 events that are held up, and a tenth more than the 400 that are sent again.
Exit code 1: with the mend there was a phantom, or without it fewer than nine in ten.
"""
import argparse, concurrent.futures, json, os, pathlib, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, run, home, seconds, step=0.2):
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found is not None:
            return found
        if time.monotonic() > end or run.poll() is not None:
            sys.exit((home / "log").read_text()[-4000:])
        time.sleep(step)


def ordered(port, number):
    body = json.dumps({"order_id": f"order-{number}"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/orders", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status == 201
    except OSError:
        return False


def play(o, file):
    """Runs the file through the glitch; what inventory did, and what Weir says of its group."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="weir-phantoms-"))
    port = free_port()
    text = (HERE / file).read_text().replace("listen: 8080", f"listen: {{ port: {port}, host: 127.0.0.1 }}")
    (home / "weir.yaml").write_text(text.replace("when: 1m,", "when: 0s,"))
    shutil.copy(HERE / "shop.py", home)
    command = [o.bin / "weir", "run", "weir.yaml", "--scenario", "glitch", "--state", home / "state", "--admin", "off",
               "--view", "lines", "--no-watch"]
    run = subprocess.Popen(command, cwd=home, stdout=open(home / "log", "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def weir(*words):
        text = subprocess.run([o.bin / "weir", *words, "--state", home / "state", "--format", "json"], cwd=home, capture_output=True)
        return json.loads(text.stdout) if text.returncode == 0 else None

    def ready():
        now = weir("status")
        return now and all(i["state"] == "ready" for s in now["services"] for i in s["instances"]) or None

    def over():
        groups = weir("topic", "groups", "order-events")
        # All that was said, the copies included, is in and done.
        with sqlite3.connect(home / "stock.sqlite", timeout=60) as db:
            paid = db.execute("SELECT count(*) FROM item WHERE paid > 0 AND taken > 0").fetchone()[0]
        return groups if groups and groups[0]["lag"] == 0 and paid >= served else None

    try:
        until(ready, run, home, 60)
        served = 0
        with concurrent.futures.ThreadPoolExecutor(128) as pool:
            begin = time.monotonic()
            asked = []
            for number in range(o.orders):
                time.sleep(max(0, begin + number / o.rate - time.monotonic()))
                asked.append(pool.submit(ordered, port, number))
            served = sum(one.result() for one in asked)
        # Those that are sent again come 5 s after their first, those that are held up 20 s.
        time.sleep(6)
        group = until(over, run, home, 120, 1)[0]
        with sqlite3.connect(home / "stock.sqlite", timeout=60) as db:
            why = dict(db.execute("SELECT why, count(*) FROM phantom GROUP BY why"))
        return {"served": served, "unpaid": why.get("unpaid", 0), "twice": why.get("twice", 0), "group": group}
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def foretold(o, file):
    text = subprocess.run([o.bin / "weir", "simulate", HERE / file, "--scenario", "glitch", "--replications", "5",
                           "--format", "json"], capture_output=True, text=True)
    queue = json.loads(text.stdout)["forecasts"][0]["queues"][0]
    return {"unpaid": queue["out-of-order"]["value"], "twice": queue["done-twice"]["value"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("--orders", type=int, default=4600)
    parser.add_argument("--rate", type=float, default=60)
    parser.add_argument("--only")
    o = parser.parse_args()
    os.environ["PYTHONUNBUFFERED"] = "1"
    isRight = True
    print("| file | | orders | out of order | done twice | phantom deductions | kept until their turn | left out |")
    print("|---|---|---|---|---|---|---|---|")
    for file in [o.only] if o.only else ["weir.yaml", "mended.yaml"]:
        want = foretold(o, file)
        print(f"| {file} | simulated | | {want['unpaid']:.0f} | {want['twice']:.0f} | {want['unpaid'] + want['twice']:.0f} | | |")
        got = play(o, file)
        phantoms = got["unpaid"] + got["twice"]
        order = got["group"].get("order") or {}
        print(f"| {file} | run | {got['served']} | {got['unpaid']} | {got['twice']} | {phantoms} "
              f"| {order.get('kept', '')} | {order.get('copies', '')} |", flush=True)
        isRight &= phantoms == 0 if file == "mended.yaml" else phantoms >= 0.9 * min(1200, 0.3 * o.orders)
    sys.exit(0 if isRight else 1)


main()

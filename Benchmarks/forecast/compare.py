#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The forecast of a file beside a run of the same file under the same load, as a Markdown table.

  compare.py --bin FOLDER [--file examples/webapp/weir.yaml] [--seconds 60] [--seed 1]

The load generator is open-loop and Poisson, as the simulator's traffic. Stories: the quiet case, and `api-instance-dies`
(kill -9 of one api instance a third of the way). The run uses one event loop and a copy of the file on a free port.
"""
import argparse, json, os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def status(bin_, file, state):
    text = subprocess.run([bin_ / "weir", "status", file, "--state", state, "--format", "json"], capture_output=True, text=True)
    return json.loads(text.stdout) if text.returncode == 0 else None


def story(o, folder, kill):
    port = free_port()
    name = "dies" if kill else "quiet"
    home = folder / name
    home.mkdir()
    text = pathlib.Path(o.file).read_text().replace("listen: 8080", f"listen: {{ port: {port}, host: 127.0.0.1 }}")
    (home / "weir.yaml").write_text(text)
    env = {**os.environ, "PATH": f"{o.bin}:{os.environ['PATH']}"}
    run = subprocess.Popen([o.bin / "weir", "run", "weir.yaml", "--state", home / "state", "--admin", "off", "--view", "lines"],
                           cwd=home, env=env, stdout=open(home / "log", "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while True:
            now = status(o.bin, home / "weir.yaml", home / "state")
            if now and all(i["state"] == "ready" for s in now["services"] for i in s["instances"] if s["name"] != "notes-db"):
                break
            if time.monotonic() > end or run.poll() is not None:
                sys.exit((home / "log").read_text())
            time.sleep(0.1)
        load = [o.bin / "weir-example", "load", "--target", f"http://127.0.0.1:{port}", "--mix", o.mix, "--format", "json",
                "--seed", str(o.seed)]
        # The first seconds of a process are not its usual ones (caches, page faults, the balancer's first samples).
        subprocess.run(load + ["--for", "5s"], env=env, check=True, stdout=subprocess.DEVNULL)
        loader = subprocess.Popen(load + ["--for", f"{o.seconds}s"], env=env, stdout=subprocess.PIPE, text=True)
        if kill:
            time.sleep(o.seconds / 3)
            now = status(o.bin, home / "weir.yaml", home / "state")
            victim = next(i for s in now["services"] if s["name"] == "api" for i in s["instances"])
            os.kill(victim["pid"], signal.SIGKILL)
        out, _ = loader.communicate()
        return json.loads(out)
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("--file", default="examples/webapp/weir.yaml")
    parser.add_argument("--mix", default="examples/webapp/load.json")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    o.mix = pathlib.Path(o.mix).resolve()
    forecast = subprocess.run([o.bin / "weir", "simulate", o.file, "--format", "json", "--replications", "20"], capture_output=True, text=True)
    forecasts = json.loads(forecast.stdout)["forecasts"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-forecast-"))
    rows = []
    try:
        for f in forecasts:
            kill = f.get("scenario") == "api-instance-dies"
            ran = story(o, folder, kill)
            rows.append((f.get("scenario") or "quiet", f["total"], ran))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| story | figure | forecast (95 %) | run | difference | goal |\n|---|---|---|---|---|---|")
    for name, want, got in rows:
        ok = got["ok"] / got["done"]
        lat = want["latency"]
        ms = lambda e: (e["value"] * 1e3, e["low"] * 1e3, (e["high"] or float("nan")) * 1e3)
        for label, (v, low, high), measured, goal in [
            ("throughput /s", (want["done"]["value"], want["done"]["low"], want["done"]["high"] or float("nan")), got["throughput"], "±3 %"),
            ("mean ms", ms(lat["mean"]), got["latency"]["mean"], "±10 %"),
            ("p50 ms", ms(lat["p50"]), got["latency"]["p50"], ""),
            ("p99 ms", ms(lat["p99"]), got["latency"]["p99"], "±20 %"),
        ]:
            print(f"| {name} | {label} | {v:.2f} ({low:.2f}–{high:.2f}) | {measured:.2f} | {(measured / v - 1) * 100:+.1f} % | {goal} |")
        print(f"| {name} | availability | {want['availability']['value'] * 100:.4f} % | {ok * 100:.4f} % | | |")


main()

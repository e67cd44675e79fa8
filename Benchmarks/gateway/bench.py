#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CPU a request of Weir beside HAProxy and nginx, on this machine, in interleaved rounds.

Each proxy has one thread, pinned to the last core; the load generator (wrk) and the origin (nginx) share the first.
What counts is the proxy's own CPU time (user + system, all its processes) divided by the requests answered, so that a
busy neighbour core hardly matters; the median of the rounds is printed, and its ratio to HAProxy.

  bench.py --weir PATH [--rounds 7] [--seconds 4] [--size 1024] [--connections 64] [--syscalls] [--markdown]
  bench.py --weir PATH --only weir --routes 10,10000      the cost of finding a route among so many
  bench.py --weir PATH --only weir --instances 2,1000     the cost of choosing among so many instances
  bench.py --weir PATH --unix          the origin behind a UNIX socket, and HAProxy over TCP beside
  bench.py --weir PATH --tls           clients over TLS 1.3 (AES-128-GCM, ECDSA P-256 on all), connections kept
  bench.py --weir PATH --handshakes    the same with a connection, and so a full handshake, for each request
  bench.py --weir PATH --http2         clients over HTTP/2 without TLS (h2load, 8 connections of 8 streams)
"""
import argparse, json, os, pathlib, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")


def descendants(pid):
    found, open_ = [], [pid]
    while open_:
        p = open_.pop()
        found.append(p)
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                open_ += [int(c) for c in pathlib.Path(f"/proc/{p}/task/{task}/children").read_text().split()]
        except OSError:
            pass
    return found


def own(pid):
    """The processes of a proxy: what it started, less the origin that Weir may have started."""
    found = []
    for p in descendants(pid):
        try:
            name, rest = pathlib.Path(f"/proc/{p}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        found.append((p, name, rest.split()))
    return [(p, fields) for p, name, fields in found if name == found[0][1]]


def cpu(pid):
    """User and system seconds of a proxy's processes."""
    user = system = 0
    for _, fields in own(pid):
        user += int(fields[11])
        system += int(fields[12])
    return user / TICK, system / TICK


def memory(pid):
    """Bytes resident in a proxy's processes; a page that two of them share counts half for each."""
    total = 0
    for p, _ in own(pid):
        try:
            text = pathlib.Path(f"/proc/{p}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) * 1024
    return total


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, what, path="/"):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                if b" 200 " in s.recv(200):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"{what} did not answer on port {port} within 20 s")


class Bench:
    def __init__(self, options):
        self.o = options
        self.routes, self.instances, self.connections_max = 1, 1, 4096
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
        # nginx's workers, which are somebody else when root starts it, read the larger bodies here.
        self.folder.chmod(0o755)
        self.started = []
        cores = sorted(os.sched_getaffinity(0))
        self.load_core, self.proxy_core = cores[0], cores[-1]

    def start(self, name, argv, core, **more):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen(
            ["taskset", "-c", str(core)] + argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, **more)
        self.started.append(process)
        return process

    def stop_all(self):
        for process in reversed(self.started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    @property
    def secure(self):
        return self.o.tls or self.o.handshakes

    @property
    def socket_path(self):
        """Where Weir lets its first service's first instance listen; its peers ask at the same place."""
        return self.folder / "state" / "s" / "origin-1"

    def certificate(self):
        """One of an elliptic curve, as sites have them today, for all proxies."""
        chain, key = self.folder / "chain.pem", self.folder / "key.pem"
        if not chain.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                            "-keyout", key, "-out", chain, "-days", "30", "-subj", "/CN=localhost",
                            "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
            (self.folder / "both.pem").write_bytes(chain.read_bytes() + key.read_bytes())
            key.chmod(0o600)
        return chain, key

    def origin(self):
        port = free_port()
        body = "x" * self.o.size
        if self.o.size <= 4096:
            answer = f"return 200 '{body}';"
        else:
            self.write("body.html", body)
            answer = f"root {self.folder}; try_files /body.html =404;"
        configuration = self.write("origin.conf", f"""
            daemon off; worker_processes 1; pid {self.folder}/origin.pid; error_log stderr crit;
            events {{ worker_connections {self.connections_max}; }}
            http {{ access_log off; keepalive_requests 1000000000; sendfile on; default_type text/plain;
              client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2; fastcgi_temp_path {self.folder}/t3;
              uwsgi_temp_path {self.folder}/t4; scgi_temp_path {self.folder}/t5;
              server {{ {f"listen unix:{self.socket_path};" if self.o.unix else ""}
                listen {"0.0.0.0" if self.instances > 1 else "127.0.0.1"}:{port} reuseport; location / {{ {answer} }} }} }}""")
        self.origin_command = f"taskset -c {self.load_core} nginx -p {self.folder} -c {configuration}"
        if not self.o.unix:
            self.start("origin", self.origin_command.split()[3:], self.load_core)
            wait_for(port, "the origin")
        return port

    def haproxy(self, origin, over_tcp=False):
        port = free_port()
        bind = f"127.0.0.1:{port}"
        if self.secure:
            self.certificate()
            bind += f" ssl crt {self.folder}/both.pem ciphersuites TLS_AES_128_GCM_SHA256 ssl-min-ver TLSv1.3"
        if self.o.http2:
            bind += " proto h2"
        server = f"unix@{self.socket_path}" if self.o.unix and not over_tcp else f"127.0.0.1:{origin}"
        process = self.start("haproxy", ["haproxy", "-db", "-f", self.write(f"haproxy-{port}.cfg", f"""
global
    nbthread 1
    no strict-limits
    maxconn {self.connections_max}
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 5s
    timeout http-request 10s
    option forwardfor
    http-reuse always
    retries 2
frontend f
    bind {bind}
    default_backend b
backend b
    server s {server}
""")], self.proxy_core)
        self.wait(port, "HAProxy")
        return port, process

    def haproxy_tcp(self, origin):
        return self.haproxy(origin, over_tcp=True)

    def nginx(self, origin):
        port = free_port()
        secure = ""
        if self.secure:
            chain, key = self.certificate()
            secure = (f"ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; "
                      "ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_session_tickets off;")
        flags = (" ssl" if self.secure else "") + (" http2" if self.o.http2 else "")
        upstream = f"unix:{self.socket_path}" if self.o.unix else f"127.0.0.1:{origin}"
        process = self.start("nginx", ["nginx", "-p", str(self.folder), "-c", self.write("nginx.conf", f"""
            daemon off; worker_processes 1; pid {self.folder}/nginx.pid; {"user root;" if os.geteuid() == 0 and self.o.unix else ""} error_log stderr crit;
            events {{ worker_connections {self.connections_max}; }}
            http {{ access_log off; keepalive_requests 1000000000;
              client_body_temp_path {self.folder}/n1; proxy_temp_path {self.folder}/n2; fastcgi_temp_path {self.folder}/n3;
              uwsgi_temp_path {self.folder}/n4; scgi_temp_path {self.folder}/n5;
              upstream u {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
              server {{ listen 127.0.0.1:{port}{flags}; {secure} location / {{
                proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
                proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}""")],
            self.proxy_core)
        self.wait(port, "nginx")
        return port, process

    def weir(self, origin):
        port = free_port()
        listen, service = "", f"at: [{self.addresses(origin)}]"
        if self.secure:
            chain, key = self.certificate()
            listen = f", protocol: https, certificates: [ {{ chain: {chain}, key: $(file:{key}) }} ]"
        if self.o.unix:
            service = f"run: {self.origin_command}"
        file = self.write("weir.yaml", f"""weir: 1
system: bench
gateway:
  listen: {{ port: {port}, host: 127.0.0.1{listen} }}
  flood: {{ connections: 100000, limit: 1000000/s }}
  routes:
    all: {{ path: /**, to: origin }}
{self.other_routes()}services:
  origin: {{ {service}, at-once: 4096 }}
""")
        process = self.start(
            "weir", [self.o.weir, "run", file, "--loops", "1", "--access-log", "off", "--admin", "0",
             "--state", str(self.folder / "state")] + self.o.weir_option,
            self.proxy_core, env={**os.environ, **({"LD_PRELOAD": self.o.preload} if self.o.preload else {})})
        self.wait(port, "Weir")
        return port, process

    def wait(self, port, what):
        if not (self.secure or self.o.http2):
            return wait_for(port, what)
        end = time.monotonic() + 20
        url = f"http{'s' if self.secure else ''}://127.0.0.1:{port}/"
        argv = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}"] + (["--http2-prior-knowledge"] if self.o.http2 else [])
        while time.monotonic() < end:
            if subprocess.run(argv + [url], capture_output=True, text=True).stdout == "200":
                return
            time.sleep(0.05)
        sys.exit(f"{what} did not answer on port {port} within 20 s")

    def other_routes(self):
        """Routes beside the one for the rest: the load takes one in the middle."""
        return "".join(f"    r{i}: {{ path: /shop-{i}/v1/items/*, to: origin }}\n" for i in range(1, self.routes))

    def addresses(self, origin):
        """So many addresses of this machine, behind all of which the same origin stands."""
        return ", ".join(f'"127.0.{i // 250}.{i % 250 + 1}:{origin}"' for i in range(self.instances))

    def path(self):
        return "/some/path?x=1" if self.routes == 1 else f"/shop-{self.routes // 2}/v1/items/7?x=1"

    def load(self, port, seconds, path):
        if self.o.http2:
            return self.load_http2(port, seconds, path)
        argv = ["taskset", "-c", str(self.load_core), "wrk", "-t1", f"-c{self.o.connections}", f"-d{seconds}s", "--latency",
                "-H", "User-Agent: bench/1.0", "-H", "Accept: text/html,application/json;q=0.9",
                "-H", "Accept-Encoding: gzip, br", "-H", "Accept-Language: en"]
        argv += ["-H", "Connection: close"] if self.o.handshakes else []
        argv.append(f"http{'s' if self.secure else ''}://127.0.0.1:{port}{path}")
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        done = int(re.search(r"(\d+) requests in", text)[1])
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
        p99 = float(p99[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[p99[2]] if p99 else float("nan")
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        errors = re.search(r"Socket errors: (.*)", text)
        # With a connection a request, wrk counts the connections that its own end of time cuts.
        if bad or errors and not self.o.handshakes:
            sys.exit(f"not a clean run: {text}")
        return done, rate, p99

    def load_http2(self, port, seconds, path):
        argv = ["taskset", "-c", str(self.load_core), "h2load", "-t1", "-c8", "-m8", f"-D{seconds}",
                "-H", "User-Agent: bench/1.0", "-H", "Accept: text/html,application/json;q=0.9",
                "-H", "Accept-Encoding: gzip, br", "-H", "Accept-Language: en", f"http://127.0.0.1:{port}{path}"]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        rate = float(re.search(r"([\d.]+) req/s", text)[1])
        done = int(re.search(r"(\d+) succeeded", text)[1])
        if int(re.search(r"(\d+) failed", text)[1]) or int(re.search(r"(\d+) 2xx", text)[1]) < done:
            sys.exit(f"not a clean run: {text}")
        return done, rate, float("nan")

    def syscalls(self, port, pid):
        """System calls a request, counted by strace over two seconds of the same load."""
        pids = [str(p) for p in descendants(pid)]
        load = subprocess.Popen(["taskset", "-c", str(self.load_core), "wrk", "-t1", f"-c{self.o.connections}", "-d5s",
                                 f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        counter = subprocess.Popen(["strace", "-c", "-f"] + sum([["-p", p] for p in pids], []), stderr=subprocess.PIPE, text=True)
        text, _ = load.communicate()
        counter.send_signal(signal.SIGINT)
        _, table = counter.communicate()
        calls = {m[2]: int(m[1]) for m in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", table, re.M)}
        calls.pop("total", None)
        # One answer is one send to the client and one to the origin: half the sends are the requests of the window.
        sends = sum(calls.get(name, 0) for name in ("write", "writev", "sendto", "sendmsg"))
        requests = sends / 2
        return {name: count / requests for name, count in calls.items() if count / requests >= 0.01}

    def proxies(self):
        """By name: its port and its process; Weir several times where numbers of routes or instances are compared."""
        found = {}
        counts = [int(n) for n in (self.o.routes or self.o.instances or "1").split(",")]
        self.instances = max(counts) if self.o.instances else 1
        origin = self.origin()
        for name in self.o.only.split(","):
            if name != "weir" or counts == [1]:
                found[name] = getattr(self, name)(origin) + ("/some/path?x=1",)
                continue
            for n in counts:
                self.routes, self.instances = (n, 1) if self.o.routes else (1, n)
                found[f"weir, {n} {'routes' if self.o.routes else 'instances'}"] = self.weir(origin) + (self.path(),)
        return found

    def run(self):
        proxies = self.proxies()
        rows = {name: [] for name in proxies}
        for name, (port, _, path) in proxies.items():
            self.load(port, 2, path)
        for number in range(self.o.rounds):
            for name, (port, process, path) in proxies.items():
                before = cpu(process.pid)
                done, rate, p99 = self.load(port, self.o.seconds, path)
                after = cpu(process.pid)
                rows[name].append({"user": (after[0] - before[0]) / done * 1e6, "system": (after[1] - before[1]) / done * 1e6,
                                   "cpu": sum(after) / done * 1e6 - sum(before) / done * 1e6, "rate": rate, "p99": p99})
                print(f"round {number + 1}/{self.o.rounds} {name:8} {rows[name][-1]['cpu']:6.2f} µs/request "
                      f"{rate:9.0f} requests/s", file=sys.stderr)
        result = {}
        for name, (port, process, _) in proxies.items():
            result[name] = {key: statistics.median(r[key] for r in rows[name]) for key in rows[name][0]}
            result[name]["low"] = min(r["cpu"] for r in rows[name])
            result[name]["high"] = max(r["cpu"] for r in rows[name])
            result[name]["memory"] = memory(process.pid) / 2**20
            if self.o.syscalls:
                result[name]["syscalls"] = self.syscalls(port, process.pid)
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", default="weir,haproxy,nginx")
    parser.add_argument("--routes", default="", help="numbers of routes, as 10,10000")
    parser.add_argument("--instances", default="", help="numbers of instances, as 2,1000")
    parser.add_argument("--syscalls", action="store_true")
    for way in ("--unix", "--tls", "--handshakes", "--http2"):
        parser.add_argument(way, action="store_true")
    parser.add_argument("--preload", default="")
    parser.add_argument("--weir-option", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.unix and options.only == "weir,haproxy,nginx":
        options.only = "weir,haproxy,haproxy_tcp,nginx"
    for name in ("wrk", "nginx", "haproxy", "taskset", "h2load" if options.http2 else "wrk", "openssl", "curl"):
        if not shutil.which(name):
            sys.exit(f"{name} is missing: script/bench installs it")
    bench = Bench(options)
    try:
        result = bench.run()
    finally:
        bench.stop_all()
    if options.json:
        print(json.dumps(result, indent=1))
        return
    base = result.get("haproxy", next(iter(result.values())))["cpu"]
    print(f"| proxy | CPU µs/request | of it user | × HAProxy | range | requests/s | p99 ms | memory MiB |\n|---|---|---|---|---|---|---|---|")
    for name, r in result.items():
        print(f"| {name} | {r['cpu']:.2f} | {r['user']:.2f} | {r['cpu'] / base:.2f} | {r['low']:.2f}–{r['high']:.2f} | "
              f"{r['rate']:.0f} | {r['p99'] / 1000:.2f} | {r['memory']:.0f} |")
    if options.size > 4096:
        print("\nMB of bodies per CPU second: "
              + ", ".join(f"{name} {options.size / r['cpu']:.0f} ({base / r['cpu']:.2f} × HAProxy)" for name, r in result.items()))
    for name, r in result.items():
        if "syscalls" in r:
            total = sum(r["syscalls"].values())
            print(f"\n{name}: {total:.2f} system calls a request: "
                  + ", ".join(f"{k} {v:.2f}" for k, v in sorted(r["syscalls"].items(), key=lambda kv: -kv[1])))


if __name__ == "__main__":
    main()

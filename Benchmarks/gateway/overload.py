#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An adaptive limit on real sockets (RP-8): nothing refused below capacity, goodput and short waits far above it.

  overload.py --weir PATH [--calm 30] [--storm 20] [--workers 8] [--work 40]

The service works on `workers` requests at a time, each takes an exponential time of `work` ms on average, and the rest waits in
it: capacity is workers / work. Requests come at random times whatever becomes of those before (open loop): 10 % critical, 40 %
normal, 50 % low. Three phases: 10 % of capacity (what is idle), 60 % (nothing may be refused), five times capacity (of which the
first 3 s, in which the limit is found, are told apart). Goodput is answers with 200 a second, also of the worst second.
"""
import argparse, asyncio, collections, multiprocessing, pathlib, random, shutil, signal, socket, subprocess, sys, tempfile, time

CLASSES = [("critical", 0.1), ("normal", 0.4), ("low", 0.5)]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serve(port, workers, work, ready):
    """The service: so many at a time, the others wait in the order of their coming."""
    waiting = collections.deque()
    chance = random.Random(2)
    busy = 0

    class Service(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.buffer = transport, b""

        def data_received(self, data):
            self.buffer += data
            while b"\r\n\r\n" in self.buffer:
                _, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
                waiting.append(self.transport)
                begin()

    def begin():
        nonlocal busy
        while waiting and busy < workers:
            transport = waiting.popleft()
            busy += 1
            asyncio.get_running_loop().call_later(chance.expovariate(1 / work), end, transport)

    def end(transport):
        nonlocal busy
        busy -= 1
        if not transport.is_closing():
            transport.write(ANSWER)
        begin()

    async def main():
        await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port, backlog=4096)
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(main())


class Client(asyncio.Protocol):
    """A kept connection with at most one request under way."""

    def __init__(self):
        self.buffer, self.done, self.is_over = b"", None, False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:"))
        if len(body) >= length:
            self.buffer = body[length:]
            self.answer(int(head[9:12]), b"\r\nconnection: close" in head.lower())

    def connection_lost(self, _):
        # One that was kept too long without a request is closed by the gateway: it is not taken again.
        self.is_over = True
        if self.done and not self.done.done():
            self.answer(0, True)

    def answer(self, status, is_over):
        self.is_over = self.is_over or is_over
        self.done.set_result(status)


class Load:
    def __init__(self, port):
        self.port, self.idle, self.chance = port, [], random.Random(1)

    async def ask(self, name, seen):
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        while self.idle and self.idle[-1].is_over:
            self.idle.pop()
        client = self.idle.pop() if self.idle else (await loop.create_connection(Client, "127.0.0.1", self.port))[1]
        client.done = loop.create_future()
        client.transport.write(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status = await client.done
        ended = time.perf_counter()
        seen.append((name, status, began, ended))
        if client.is_over:
            client.transport.close()
        else:
            self.idle.append(client)

    async def phase(self, rate, seconds):
        """Requests at random times for so long; what became of each, with times from the phase's beginning."""
        seen, tasks = [], set()
        began = time.perf_counter()
        due = began
        while due < began + seconds:
            due += self.chance.expovariate(rate)
            pause = due - time.perf_counter()
            # Late ones are sent at once: the rate holds over the phase.
            if pause > 0:
                await asyncio.sleep(pause)
            name = self.chance.choices([c[0] for c in CLASSES], [c[1] for c in CLASSES])[0]
            task = asyncio.ensure_future(self.ask(name, seen))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return [(name, status, a - began, b - began) for name, status, a, b in seen]


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def waits(seen):
    return [(b - a) * 1000 for _, status, a, b in seen if status == 200]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--calm", type=int, default=30, help="seconds at 60 %%")
    parser.add_argument("--storm", type=int, default=20, help="seconds at five times capacity")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--work", type=float, default=40, help="ms")
    o = parser.parse_args()
    capacity = o.workers / (o.work / 1000)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-overload-"))
    service_port, port = free_port(), free_port()
    ready = multiprocessing.Event()
    service = multiprocessing.Process(target=serve, args=(service_port, o.workers, o.work / 1000, ready), daemon=True)
    service.start()
    ready.wait()
    routes = "\n".join(f"    {n}: {{ path: /{n}, to: shop, priority: {n} }}" for n, _ in CLASSES)
    (folder / "weir.yaml").write_text(
        f"weir: 1\nsystem: overload\ngateway:\n  listen: {port}\n  flood: {{ connections: none, limit: none }}\n"
        f"  routes:\n{routes}\nservices:\n  shop: {{ at: 127.0.0.1:{service_port}, at-once: adaptive }}\n")
    process = subprocess.Popen(
        [o.weir, "run", str(folder / "weir.yaml"), "--loops", "1", "--access-log", "off", "--admin", "0", "--state",
         str(folder / "state")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    sys.exit(f"weir does not listen: {process.stderr.read().decode() if process.poll() is not None else ''}")
                time.sleep(0.05)
        asyncio.run(measure(o, capacity, port))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        service.terminate()
        shutil.rmtree(folder, ignore_errors=True)


async def measure(o, capacity, port):
    load = Load(port)
    idle = await load.phase(0.1 * capacity, 12)
    calm = await load.phase(0.6 * capacity, o.calm)
    storm = await load.phase(5 * capacity, o.storm)
    settled = [s for s in storm if s[2] >= 3]
    print(f"capacity {capacity:.0f}/s: {o.workers} at a time, {o.work:.0f} ms each (exponential)")
    base = quantile(waits(idle), 0.99)
    print(f"idle, 10 %: {len(idle)} requests, p99 {base:.1f} ms")
    refused = sum(s[1] != 200 for s in calm)
    print(f"calm, 60 % for {o.calm} s: {refused} of {len(calm)} not answered 200, p99 {quantile(waits(calm), 0.99):.1f} ms")
    seconds = collections.Counter(int(s[3]) for s in storm if s[1] == 200 and 3 <= s[3] < o.storm)
    rates = [seconds[i] for i in range(3, o.storm)]
    print(f"storm, 5 × for {o.storm} s, {len(storm) / o.storm:.0f}/s: goodput {sum(rates) / len(rates) / capacity:.3f} of capacity, "
          f"worst second {min(rates) / capacity:.3f}; p99 of what is answered {quantile(waits(settled), 0.99):.1f} ms, "
          f"{quantile(waits(settled), 0.99) / base:.2f} × idle")
    for name, share in CLASSES:
        of = [s for s in settled if s[0] == name]
        good = sum(s[1] == 200 for s in of)
        print(f"  {name}: {good} of {len(of)} answered ({good / max(1, len(of)):.1%}), p99 {quantile(waits(of), 0.99):.1f} ms")
    first = [s for s in storm if s[2] < 3]
    print(f"  the first 3 s: p99 {quantile(waits(first), 0.99):.1f} ms, {sum(s[1] == 200 for s in first) / 3 / capacity:.3f} of capacity")


main()

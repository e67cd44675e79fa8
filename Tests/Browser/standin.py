# SPDX-License-Identifier: Apache-2.0
"""Stands in for Weir, so that the shop's programs and its page can be tried without it: gateway, saga, stream, topic, queue.

It keeps everything in memory and forgets it at its end; it shows what the programs do, not what Weir promises.
"""

import contextlib
import http.client
import http.server
import json
import threading
import time
import urllib.parse

STEPS = (
    ("orders/open", "orders/reject"), ("payments/authorize", "payments/void"),
    ("inventory/reserve", "inventory/release"), ("orders/confirm", None))


class Standin:
    """Listens on a free port of the loopback; `services` names ports, `down` those that cannot be reached."""

    def __init__(self):
        self.services = {}
        self.down = set()
        self.lock = threading.Condition()
        self.sagas, self.streams, self.ids, self.mails = {}, {}, {}, {}
        self.feeds = {"order-list": [], "news": [], "inventory": [], "emails": []}
        self.over = False
        standin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, fields, content = standin.route(self.command, self.path, dict(self.headers), body)
                self.send_response_only(status)
                for name, value in fields:
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("content-length", str(len(content)))
                with contextlib.suppress(ConnectionError):  # A browser may have gone on to another page.
                    self.end_headers()
                    self.wfile.write(content if self.command != "HEAD" and status != 304 else b"")

            do_GET = do_POST = do_PUT = do_HEAD = serve

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # A browser closes connections as it likes.
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for name, to in (
            ("order-list", "orders/project"), ("news", "orders/announce"), ("inventory", "inventory/events"),
            ("emails", "mailer/send")):
            threading.Thread(target=self.feed, args=(name, to), daemon=True).start()

    def environment(self):
        return {
            "WEIR_URL": self.url + "/weir", "PLACE_ORDER_URL": self.url + "/weir/sagas/place-order",
            "ORDER_LOG_URL": self.url + "/weir/streams/order-log",
            "ORDER_EVENTS_URL": self.url + "/weir/topics/order-events", "EMAILS_URL": self.url + "/weir/queues/emails"}

    # HTTP

    def call(self, name, method, path, headers, body):
        """What a service answers; status 0 when it cannot be asked."""
        if name in self.down or name not in self.services:
            return 0, [], b""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.services[name], timeout=15)
            connection.request(method, path, body=body or None, headers=headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
            fields = [(n, v) for n, v in answer.getheaders() if n.lower() not in (
                "connection", "content-length", "transfer-encoding", "keep-alive")]
            connection.close()
            return status, fields, content
        except (OSError, http.client.HTTPException):
            return 0, [], b""

    def route(self, method, path, headers, body):
        if path == "/services":
            self.services.update(json.loads(body))
            return self.json(200, self.services)
        if path.startswith("/weir/"):
            parts = urllib.parse.urlsplit(path[len("/weir/"):])
            return self.weir(method, parts.path.split("/"), dict(urllib.parse.parse_qsl(parts.query)), path, headers, body)
        name = "web"
        for prefix, service in (("/api/products", "catalog"), ("/api/", "orders"), ("/partner/", "partner")):
            if path.startswith(prefix):
                name = service
                break
        headers = {n: v for n, v in headers.items() if n.lower() not in ("host", "connection")}
        status, fields, content = self.call(name, method, path.removeprefix("/partner"), headers, body)
        return (status, fields, content) if status else self.json(502, {"title": "Bad Gateway"})

    @staticmethod
    def json(status, value):
        return status, [("content-type", "application/json")], json.dumps(value).encode()

    def weir(self, method, words, query, path, headers, body):
        headers = {name.lower(): value for name, value in headers.items()}
        match (method, *words):
            case ("GET", "call", service, *rest):
                status, fields, content = self.call(service, "GET", "/" + "/".join(rest), {}, b"")
                if status == 0 and service == "inventory":
                    return self.json(200, {})  # The fallback of the shop's file.
                return (status or 503), fields, content
            case ("POST", "sagas", "place-order"):
                return self.begin(headers["weir-id"], body)
            case ("GET", "sagas", "place-order", name):
                return self.saga(name, float(query.get("wait", "0s").removesuffix("s")))
            case ("POST", "streams", "order-log", key):
                return self.append(key, headers, body)
            case ("GET", "streams", "order-log", key):
                return self.json(200, {"events": self.streams.get(key, [])})
            case ("POST", "topics", "order-events"):
                return self.publish(headers, body)
            case ("POST", "queues", "emails"):
                return self.enqueue(headers, body)
            case ("GET", "queues", "emails", "messages", name):
                state = self.mails.get(name)
                return self.json(200, {"id": name, "state": state}) if state else self.json(404, {})
        return self.json(404, {"detail": f"the stand-in knows no {method} {path}"})

    # Saga

    def begin(self, name, body):
        with self.lock:
            if name not in self.sagas:
                self.sagas[name] = {
                    "id": name, "saga": "place-order", "state": "running",
                    "steps": [{"do": "POST " + do, "state": "waiting", "attempts": 0} for do, _ in STEPS]}
                threading.Thread(target=self.play, args=(name, body), daemon=True).start()
        return self.json(202, {"id": name, "saga": "place-order"})

    def saga(self, name, wait):
        with self.lock:
            if name not in self.sagas:
                return self.json(404, {})
            self.lock.wait_for(lambda: self.sagas[name]["state"] in ("finished", "compensated"), timeout=wait)
            return self.json(200, self.sagas[name])

    def step(self, name, number, to, body, undo):
        """Tries until the answer is yes (True) or no (False)."""
        service, operation = to.split("/")
        step = self.sagas[name]["steps"][number]
        step["state"] = "undoing" if undo else "calling"
        while not self.over:
            step["attempts"] += 1
            headers = {
                "Content-Type": "application/json", "Weir-Saga": "place-order", "Weir-Id": name,
                "Idempotency-Key": f"{name}/{number}" + ("/undo" if undo else "")}
            status, _, _ = self.call(service, "POST", "/" + operation, headers, body)
            if 200 <= status < 300:
                step["state"] = "undone" if undo else "done"
                return True
            if 400 <= status < 500 and status not in (408, 409, 425, 429):
                step["state"] = "refused"
                return False
            step["state"] = "undo-retrying" if undo else "retrying"
            time.sleep(0.2)
        return False

    def play(self, name, body):
        saga = self.sagas[name]
        for number, (do, _) in enumerate(STEPS):
            if self.step(name, number, do, body, undo=False):
                continue
            saga["state"], saga["cause"] = "compensating", f"step {number + 1}, POST {do}: refused"
            for before in reversed(range(number)):
                self.step(name, before, STEPS[before][1], body, undo=True)
            return self.end(saga, "compensated")
        self.end(saga, "finished")

    def end(self, saga, state):
        with self.lock:
            saga["state"] = state
            self.lock.notify_all()

    # Stream, topic, queue

    def append(self, key, headers, body):
        with self.lock:
            events = self.streams.setdefault(key, [])
            name = headers.get("weir-id")
            if name in self.ids:
                return self.json(201, {"version": self.ids[name]})
            expected = headers.get("weir-expected-version")
            if expected is not None and int(expected) != len(events):
                return self.json(409, {"version": len(events)})
            self.ids[name] = version = len(events) + 1
            events.append({"version": version, "id": name, "type": headers.get("weir-type"), "data": json.loads(body)})
            for feed in ("order-list", "news"):
                self.feeds[feed].append((f"{feed}/{key}/{version}", body, {"Weir-Version": str(version)}))
            return self.json(201, {"version": version})

    def publish(self, headers, body):
        with self.lock:
            if headers.get("weir-id") not in self.ids:
                self.ids[headers.get("weir-id")] = 1
                self.feeds["inventory"].append((headers.get("weir-id"), body, {}))
        return self.json(202, {"id": headers.get("weir-id"), "topic": "order-events"})

    def enqueue(self, headers, body):
        with self.lock:
            name = headers["weir-id"]
            if name not in self.mails:
                self.mails[name] = "waiting"
                self.feeds["emails"].append((name, body, {}))
        return self.json(202, {"id": name, "queue": "emails", "duplicate": False})

    def feed(self, name, to):
        """Delivers what lies in a feed, one after the other, each until it is taken."""
        service, operation = to.split("/")
        while not self.over:
            if not self.feeds[name]:
                time.sleep(0.02)
                continue
            key, body, fields = self.feeds[name][0]
            headers = {"Content-Type": "application/json", "Idempotency-Key": key, "Weir-Id": key, **fields}
            status, _, _ = self.call(service, "POST", "/" + operation, headers, body)
            if 200 <= status < 300:
                self.feeds[name].pop(0)
                if key in self.mails:
                    self.mails[key] = "done"
            else:
                time.sleep(0.2)

    def close(self):
        self.over = True
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    # For tests in other languages: prints where it is, and is told the services at /services.
    port = Standin().server.server_address[1]
    print(json.dumps({"program": "standin", "event": "started", "port": port}), flush=True)
    threading.Event().wait()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A crowd of customers: each puts something into a cart and orders it, at a rate that does not wait for answers.

    crowd.py --target http://localhost:8080 --rate 20 --for 60s

That is ten times the orders of weir.yaml: watch `weir queue list` meanwhile, beside what `weir simulate` says of `burst`.
"""

import argparse
import collections
import concurrent.futures
import http.client
import json
import random
import time
import urllib.parse
import uuid

from program import seconds

parser = argparse.ArgumentParser(description="Orders at a rate.")
parser.add_argument("--target", default="http://localhost:8080")
parser.add_argument("--rate", type=float, default=20, help="orders a second (Poisson)")
parser.add_argument("--for", dest="length", type=seconds, default=60.0)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
place = urllib.parse.urlsplit(options.target)
chance = random.Random(options.seed)
seen = collections.Counter()


def ask(method, path, value, **fields):
    connection = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=30)
    try:
        connection.request(
            method, path, body=json.dumps(value), headers={"Content-Type": "application/json", **fields})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def order(product):
    name = str(uuid.uuid4())
    cart = {"lines": [{"product": product, "quantity": 1}]}
    kept = ask("PUT", f"/api/carts/{name}", cart)
    if kept != 200:
        seen[f"cart {kept}"] += 1
        return
    wish = {"customer_id": name, "email": f"{name[:8]}@example.com"}
    status = 0
    for _ in range(3):
        # What was not taken is asked for again, under the same key: it is the same order.
        status = ask("POST", "/api/orders", wish, **{"Idempotency-Key": name})
        if status == 202:
            break
        time.sleep(1)
    seen[f"order {status}"] += 1


begun, due = time.monotonic(), 0.0
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    while (due := due + chance.expovariate(options.rate)) < options.length:
        time.sleep(max(0.0, begun + due - time.monotonic()))
        pool.submit(order, chance.choice(["mug", "lamp", "clock", "plant", "notebook", "pen", "bag"]))
print(f"{time.monotonic() - begun:.1f} s:", ", ".join(f"{name}: {count}" for name, count in sorted(seen.items())))

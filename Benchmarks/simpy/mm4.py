# SPDX-License-Identifier: Apache-2.0
"""M/M/4 at 80 % in SimPy, written as its documentation writes a bank with counters: the peer of `script/bench simulate`.

SimPy runs the queue alone; Weir's figure runs the whole pipeline of a gateway request beside it.
"""

import random
import sys
import time

import simpy

CUSTOMERS = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
RATE, SERVERS = 3.2, 4


def customer(env, servers, served, draw):
    came = env.now
    with servers.request() as place:
        yield place
        yield env.timeout(draw.expovariate(1))
    served.append(env.now - came)


def arrivals(env, servers, served, draw):
    for _ in range(CUSTOMERS):
        yield env.timeout(draw.expovariate(RATE))
        env.process(customer(env, servers, served, draw))


def main():
    draw = random.Random(1)
    env = simpy.Environment()
    served = []
    env.process(arrivals(env, simpy.Resource(env, SERVERS), served, draw))
    began = time.process_time()
    env.run()
    took = time.process_time() - began
    mean = sum(served) / len(served)
    print(f"{len(served)} {took:.3f} {len(served) / took:.0f} {mean:.4f}")


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes schedules.tsv: what croniter (PyPI, 7.0.0) says are the next five runs of 500 schedules.

    pip install croniter==7.0.0 && python3 make.py > schedules.tsv

One schedule a line: the text, the moment after which runs are asked for, and the runs, in seconds since 1970 UTC.
Left out is what croniter reads in its own way: a list that names every day (it takes it for a star), ranges that wrap.
"""
import random
import sys
from datetime import datetime, timezone

from croniter import croniter

draw = random.Random(20261121)
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()
FIELDS = [(0, 59, None), (0, 23, None), (1, 31, None), (1, 12, MONTHS), (0, 6, DAYS)]


def value(low, names, number):
    return names[number - low] if names and draw.random() < 0.4 else str(number)


def item(low, high, names):
    kind = draw.random()
    if kind < 0.5:
        return value(low, names, draw.randint(low, high))
    start = draw.randint(low, high - 1)
    end = draw.randint(start + 1, high)
    if (start, end) == (low, high):
        end -= 1
    text = value(low, names, start) + "-" + value(low, names, end)
    return text if kind < 0.8 or end - start < 2 else f"{text}/{draw.randint(1, end - start)}"


def field(low, high, names, star):
    if draw.random() < star:
        return "*"
    if draw.random() < 0.25:
        return f"*/{draw.randint(2, (high - low) // 2)}"
    return ",".join(item(low, high, names) for _ in range(draw.choice([1, 1, 1, 2, 3])))


def main():
    fixed = ["0 3 * * *", "*/15 * * * *", "0 0 29 2 *", "0 0 31 * *", "30 4 1,15 * 5", "0 22 * * 1-5", "5 4 * * sun",
             "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "0 0 */2 * 1", "59 23 31 12 *",
             "0 0 30 4 *", "0 12 * * 7", "0 0 29 2 1", "0 0 1 1 *", "* * * * *", "0 0-23/6 * * *", "0 9 13 * fri"]
    seen = 0
    while seen < 500:
        text = fixed[seen] if seen < len(fixed) else " ".join(
            field(*FIELDS[i], star) for i, star in enumerate([0.1, 0.2, 0.5, 0.6, 0.5]))
        days, weekdays = (text.split() + ["*"] * 4)[2], (text.split() + ["*"] * 4)[4]
        start = draw.randint(0, 4_200_000_000)  # 1970 to 2103: past the 2100 that is no leap year
        try:
            runs, walk = [], croniter(text, datetime.fromtimestamp(start, timezone.utc), max_years_between_matches=50)
            everything = [len(walk.expanded[2]) >= 31, len(walk.expanded[4]) >= 7]
            if (everything[0] and days != "*") or (everything[1] and weekdays != "*"):
                continue
            for _ in range(5):
                runs.append(int(walk.get_next(float)))
        except Exception as error:  # a day that never comes
            print(f"left out: {text}: {error}", file=sys.stderr)
            if seen < len(fixed):
                raise
            continue
        print(text, start, " ".join(map(str, runs)), sep="\t")
        seen += 1


main()

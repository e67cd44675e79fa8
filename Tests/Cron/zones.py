#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes zones.tsv: zones of the IANA database as files, and the offsets that Python's zoneinfo (3.9 or later) reads out of them.

    zones.py <folder of compiled zones> [name …] > zones.tsv

The folder is made by `zic -b slim -d <folder> tzdata.zi` (or `-b fat`); `-r @1577836800` leaves out what was before 2020.
A line has the name, the file in base64, and pairs `second:offset`: at the beginning of a span, then at each change and a second before it.
"""
import base64
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

folder, names = sys.argv[1], sys.argv[2:]
SPANS = [(2021, 2029), (2037, 2039), (2099, 2101), (2399, 2400)]


def stamp(year):
    return int(datetime(year, 1, 1, tzinfo=timezone.utc).timestamp())


for name in names:
    with open(f"{folder}/{name}", "rb") as file:
        content = file.read()
    with open(f"{folder}/{name}", "rb") as file:
        zone = ZoneInfo.from_file(file)

    def offset(second):
        at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=second)
        return int(at.astimezone(zone).utcoffset().total_seconds())

    points = []
    for first, last in SPANS:
        start, end = stamp(first), stamp(last)
        points.append(start)
        # By six hours, then by halves: no zone changes twice within them.
        for low in range(start, end, 21600):
            high = low + 21600
            if offset(low) == offset(high):
                continue
            while high - low > 1:
                middle = (low + high) // 2
                if offset(middle) == offset(low):
                    low = middle
                else:
                    high = middle
            points += [high - 1, high]
    pairs = " ".join(f"{second}:{offset(second)}" for second in points)
    print(f"{name}\t{base64.b64encode(content).decode()}\t{pairs}")

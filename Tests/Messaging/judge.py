# SPDX-License-Identifier: Apache-2.0
"""Asks the reference libraries what they think of our messages; see WeirMessagingTests/Judge.swift.

judge.py webhook SECRET ID SECONDS SIGNATURE BODY   says whether the signature is genuine, and what it would sign itself
"""
import sys
from datetime import datetime, timezone


def webhook(secret, id, seconds, signature, body):
    from standardwebhooks.webhooks import Webhook

    judge = Webhook(secret)
    judge.verify(body, {"webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": signature})
    print("genuine")
    print(judge.sign(msg_id=id, timestamp=datetime.fromtimestamp(int(seconds), tz=timezone.utc), data=body))


{"webhook": webhook}[sys.argv[1]](*sys.argv[2:])

# SPDX-License-Identifier: Apache-2.0
"""Asks the reference libraries what they think of our messages; see WeirMessagingTests/Judge.swift.

judge.py webhook SECRET ID SECONDS SIGNATURE BODY   says whether the signature is genuine, and what it would sign itself
judge.py cloudevent HEADERS BODY                    reads an event (headers as JSON, body as base64), says what it is, and writes it
judge.py schema FILE                                a list of [schema, documents]: for each, "invalid", or which documents fit
"""
import base64
import json
import sys
from datetime import datetime, timezone


def webhook(secret, id, seconds, signature, body):
    from standardwebhooks.webhooks import Webhook

    judge = Webhook(secret)
    judge.verify(body, {"webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": signature})
    print("genuine")
    print(judge.sign(msg_id=id, timestamp=datetime.fromtimestamp(int(seconds), tz=timezone.utc), data=body))


def cloudevent(headers, body):
    from cloudevents.core.bindings import http
    from cloudevents.core.formats.json import JSONFormat

    event = http.from_http(http.HTTPMessage(headers=json.loads(headers), body=base64.b64decode(body)), JSONFormat())

    def text(value):
        return value.isoformat() if isinstance(value, datetime) else str(value)

    def message(written):
        return {"headers": written.headers, "body": base64.b64encode(written.body).decode()}

    data = event.get_data()
    print(json.dumps({
        "attributes": {name: text(value) for name, value in event.get_attributes().items()},
        "data": None if data is None else str(data),
        "binary": message(http.to_binary(event, JSONFormat())),
        "structured": message(http.to_structured(event, JSONFormat())),
    }))


def schema(file):
    from jsonschema import Draft202012Validator as Validator
    from jsonschema.exceptions import SchemaError

    def verdict(schema, documents):
        try:
            Validator.check_schema(schema)
        except SchemaError:
            return "invalid"
        validator = Validator(schema)
        return [validator.is_valid(document) for document in documents]

    with open(file) as cases:
        print(json.dumps([verdict(*case) for case in json.load(cases)]))


{"webhook": webhook, "cloudevent": cloudevent, "schema": schema}[sys.argv[1]](*sys.argv[2:])

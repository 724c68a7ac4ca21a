"""Somebody who reaches the worker sends it a request of their own, past the server."""

from pathlib import Path

import httpx

from restate_guide.lab import PLAIN, Holds, Lab, ServedUnverified

RULE = "RDD601"
STIMULUS = PLAIN
SETTING = "RESTATE_WORKER__INVOKER__REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"
SERVER = {SETTING: str(Path(__file__).with_name("key.pem"))}
ENV = {"IDENTITY_KEY": "publickeyv1_9AM3RrY92D8vrtWBr5gVRbZDh8cfyVFcYvtgXjShTXr9"}
REQUEST = "POST /invoke/Checkout/pay"
EXPECTED = {
    "do": Holds(answers=["charge-1"], effects={"POST /charges": 1}),
    "dont": ServedUnverified(REQUEST),
}
PROTOCOL = {"content-type": "application/vnd.restate.invocation.v5"}
MANIFEST = {"accept": "application/vnd.restate.endpointmanifest.v4+json"}
START, INPUT = 0x0000, 0x0400


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def message(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + bytes(2) + len(body).to_bytes(4) + body


# What a server would send: an invocation's id, one known entry, and the input.
FORGED = message(
    START, field(1, b"forged") + field(2, b"inv_forged") + bytes([3 << 3, 1])
) + message(INPUT, field(14, field(1, b'"order-2"')))


async def prove(lab: Lab) -> None:
    await lab.call("Checkout/pay", "order-1")
    async with httpx.AsyncClient(base_url=lab.worker_url) as stranger:
        health = await stranger.get("/health")
        discover = await stranger.get("/discover", headers=MANIFEST)
        invoke = await stranger.post(
            "/invoke/Checkout/pay", content=FORGED, headers=PROTOCOL
        )
    lab.measure("GET /health, unsigned", health.status_code)
    lab.measure("GET /discover, unsigned", discover.status_code)
    lab.measure(f"{REQUEST}, unsigned", invoke.status_code)
    if invoke.is_success:
        lab.measure("served unverified", REQUEST)

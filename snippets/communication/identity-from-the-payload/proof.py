"""Mallory, with a token of her own, asks for a payout of Alice's money."""

import hmac

from restate_guide.lab import PLAIN, Aside, Holds, Lab, ServedUnverified

RULE = "RDD310"
STIMULUS = PLAIN
SPOOFED = "POST /payouts as alice"
EXPECTED = {
    "do": Holds(answers=["", "paid out for mallory"], effects={"POST /payouts": 1}),
    "dont": ServedUnverified(SPOOFED),
}
ENV = {"TOKEN_SECRET": "for this proof only"}
TOKEN = hmac.new(ENV["TOKEN_SECRET"].encode(), b"mallory", "sha256").hexdigest()


async def prove(lab: Lab) -> None:
    edge = await lab.serve("edge")
    await lab.post(edge, "/payouts?user=alice&iban=M1")
    spoofed = {"authorization": f"mallory.{TOKEN}", "x-user": "alice"}
    answer = await lab.post(edge, "/payouts?user=alice&iban=M1", headers=spoofed)
    if answer == "paid out for alice":
        lab.measure("served unverified", SPOOFED)


async def past_the_edge(lab: Lab) -> None:
    """Mallory reaches the ingress itself."""
    spoofed = {"x-user": "alice"}
    answer = await lab.call("Accounts/payout", {"iban": "M1"}, headers=spoofed)
    if answer == "paid out for alice":
        lab.measure("served unverified", SPOOFED)


ASIDES = {
    "forwarding": Aside(
        "An edge that passes the caller's headers on lets them choose who they are.",
        snippet="forwarding",
        stimulus=PLAIN,
        outcome=ServedUnverified(SPOOFED),
    ),
    "past-the-edge": Aside(
        "Whoever reaches the ingress itself can send the header, too.",
        snippet="do",
        stimulus=PLAIN,
        outcome=ServedUnverified(SPOOFED),
        prove=past_the_edge,
    ),
}

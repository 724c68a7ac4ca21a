"""A broker's system files a claim, with its token; then somebody reads the journal."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, SecretExposed

RULE = "RDD311"
STIMULUS = PLAIN
ENV = {"BROKER_TOKEN": "for-this-proof-only"}
SIGNED = {"authorization": f"Bearer {ENV['BROKER_TOKEN']}", "x-trace": "t-1"}
EXPECTED = {
    "do": Holds(answers=["", "claim-1"], effects={"POST /claims": 1}),
    "dont": SecretExposed(known_from="the journal"),
}
FOUND = f"select id from sys_journal where entry_json like '%{ENV['BROKER_TOKEN']}%'"


async def prove(lab: Lab) -> None:
    edge = await lab.serve("edge")
    await lab.post(edge, "/claims/water-damage", headers={"x-trace": "t-1"})
    await lab.post(edge, "/claims/water-damage", headers=SIGNED)
    await look_for_the_token(lab)


async def look_for_the_token(lab: Lab) -> None:
    """In the journal of an invocation that is over."""
    await lab.until_all_completed()
    if await lab.query(FOUND):
        lab.measure("secret known from", "the journal")


async def past_the_edge(lab: Lab) -> None:
    """A broker's system is given the address of the ingress itself."""
    await lab.call("Claims/file", "water-damage", headers=SIGNED)
    await look_for_the_token(lab)


ASIDES = {
    "past-the-edge": Aside(
        "The ingress itself strips nothing: a token that is sent to it is in the journal.",
        snippet="do",
        stimulus=PLAIN,
        outcome=SecretExposed(known_from="the journal"),
        prove=past_the_edge,
    ),
}

"""Ann's claim is paid; her history is read when the workflow's retention is over."""

from restate_guide.lab import PLAIN, Aside, Holds, Lab, WrongValue

RULE = "RDD207"
STIMULUS = PLAIN
SERVER = {"RESTATE_WORKER__CLEANUP_INTERVAL": "500ms"}
"""How often the server looks for what it is to remove; an hour unless set."""
RAN = "select id from sys_invocation where target = 'Claims/c-1/settle'"
KEPT = "select service_key from state where service_name = 'Claims'"
RIGHT = Holds(answers=["paid", {"c-1": "paid"}])
EXPECTED = {
    "do": RIGHT,
    "dont": WrongValue(right={"c-1": "paid"}, got={"c-1": None}),
}


async def prove(lab: Lab) -> None:
    await lab.call("Claims/c-1/settle", "ann")
    await lab.until_no_row(RAN)
    await lab.until_no_row(KEPT)
    await lab.call("Customers/ann/history")


async def prove_at_once(lab: Lab) -> None:
    await lab.call("Claims/c-1/settle", "ann")
    await lab.call("Customers/ann/history")


ASIDES = {
    "soon": Aside(
        "A plain test shows nothing: as long as the server has not cleaned up, the "
        "answer is right.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=RIGHT,
        prove=prove_at_once,
        server={},
    ),
}

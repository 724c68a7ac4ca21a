"""Ann signs in twice from her phone."""

from restate_guide.lab import PLAIN, Holds, Lab, PreconditionFailed

RULE = "RDD201"
STIMULUS = PLAIN
EXPECTED = {
    "do": Holds(answers=["another device", "same device"], state={"SignIns": 1}),
    "dont": PreconditionFailed(command=1),
}


async def prove(lab: Lab) -> None:
    # A service has no keys: there is no place in its address for Ann.
    target = "SignIns/check" if lab.snippet == "dont" else "SignIns/ann/check"
    if await lab.call(target, "phone"):
        await lab.call(target, "phone")

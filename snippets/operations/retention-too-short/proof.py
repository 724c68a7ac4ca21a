"""The shop sends a payout again, with the same key, two seconds after it was paid."""

from restate_guide.lab import PLAIN, Aside, EffectRepeated, Holds, Lab

RULE = "RDD603"
STIMULUS = PLAIN
SERVER = {"RESTATE_WORKER__CLEANUP_INTERVAL": "4000ms"}
TRANSFER = "POST /transfers"
PAID_ONCE = Holds(answers=["transfer-1", "transfer-1"], effects={TRANSFER: 1})
PAID_TWICE = EffectRepeated(TRANSFER, times=2)
EXPECTED = {"do": PAID_ONCE, "dont": PAID_TWICE}
FRESH = (
    "select id from sys_invocation where completed_at > now() - interval '2 seconds'"
)
EXPIRED = (
    "select id from sys_invocation where completion_retention < interval '1 second'"
)


async def prove(lab: Lab) -> None:
    """The second request comes when the first is two seconds old, and what has expired is gone."""
    await lab.call("Payouts/pay", "ann", idempotency_key="payout-1")
    await lab.until_no_row(FRESH)
    await lab.until_no_row(EXPIRED)
    await lab.call("Payouts/pay", "ann", idempotency_key="payout-1")


async def soon(lab: Lab) -> None:
    """The server has not looked for what has expired."""
    await lab.call("Payouts/pay", "ann", idempotency_key="payout-1")
    await lab.until_no_row(FRESH)
    await lab.call("Payouts/pay", "ann", idempotency_key="payout-1")


async def workflow(lab: Lab) -> None:
    await lab.call("Payout/payout-1/pay", "ann")
    await lab.until_no_row(FRESH)
    await lab.until_no_row(EXPIRED)
    await lab.call("Payout/payout-1/pay", "ann")


ASIDES = {
    "keyed": Aside(
        "Both invocations draw the same `ctx.uuid()`, so a bank that is given it as a key "
        "pays once.",
        snippet="keyed",
        stimulus=PLAIN,
        outcome=PAID_ONCE,
    ),
    "hourly": Aside(
        "With the server's own setting, the don't still knows the key after two seconds: "
        "it has expired, and is not yet gone.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=PAID_ONCE,
        prove=soon,
        server={},
    ),
    "workflow": Aside(
        "`idempotency_retention` does nothing for a workflow's run: its id is forgotten "
        "after `workflow_retention`.",
        snippet="workflow",
        stimulus=PLAIN,
        outcome=PAID_TWICE,
        prove=workflow,
    ),
}

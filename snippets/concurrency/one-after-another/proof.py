"""Each agency takes its time."""

import asyncio

from restate_guide.lab import PLAIN, AnsweredLate, Holds, Lab

RULE = "RDD410"
STIMULUS = PLAIN
INCOME, DEBTS = "GET /income/ann", "GET /debts/ann"
ANSWERED = "select id from sys_journal where entry_type = 'Notification: Run'"
EXPECTED = {"do": Holds(answers=[3000]), "dont": AnsweredLate(seconds=1.5)}


async def prove(lab: Lab) -> None:
    lab.outside.answers.update({INCOME: 5000, DEBTS: 2000})
    lab.outside.in_order(INCOME, DEBTS)
    income = lab.outside.hold(INCOME, at_most=1.0)
    debts = lab.outside.hold(DEBTS, at_most=0.5)
    rating = asyncio.create_task(lab.call("Loans/rate", "ann"))
    await lab.until_effect(DEBTS)
    if lab.outside.waited:
        # The first agency had answered, after its whole second, when the other one was asked.
        await rating
        lab.measure("answered after at least", 1.5)
    else:
        income.set()
        await lab.until_row(ANSWERED)
        debts.set()
        await rating

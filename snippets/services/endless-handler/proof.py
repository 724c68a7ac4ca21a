"""Ann gets a digest on eight days, and then unsubscribes."""

from restate_guide.lab import PLAIN, Aside, EffectRepeated, Holds, JournalGrows, Lab

RULE = "RDD704"
STIMULUS = PLAIN
DIGEST, LETTER = "POST /digests", "POST /letters"
MANY = 30
ACCEPTED = {"invocationId": "inv-1", "status": "Accepted"}
EXPECTED = {
    "do": Holds(answers=[ACCEPTED], effects={DIGEST: 8}),
    "dont": JournalGrows(entries=MANY),
}
JOURNALS = "select id, count(*) as entries from sys_journal group by id"


async def prove(lab: Lab) -> None:
    lab.outside.fail(DIGEST, times=1, status=410, after=8)
    await lab.call("Digests/send/send", "ann")
    await lab.until_effect(DIGEST, times=9)  # the ninth is refused
    await lab.until_all_completed()
    if max(row["entries"] for row in await lab.query(JOURNALS)) > MANY:
        lab.measure("journal grew to at least", MANY)


async def newer_on_the_first(lab: Lab) -> None:
    """On the first day, while the digest is under way, a newer version is registered."""
    lab.outside.fail(DIGEST, times=1, status=410, after=8)
    lab.outside.fail(LETTER, times=1, status=410, after=7)
    mailed = lab.outside.hold(DIGEST, at_most=30.0)
    await lab.call("Digests/send/send", "ann")
    await lab.until_effect(DIGEST)
    await lab.deploy("newer")
    mailed.set()
    ended = lab.until_effect(DIGEST, times=9), lab.until_effect(LETTER, times=8)
    await lab.until_any(*ended)
    await lab.until_all_completed()


FROM_THE_SECOND_DAY = Holds(answers=[ACCEPTED], effects={DIGEST: 1, LETTER: 7})
ASIDES = {
    "pinned": Aside(
        "The loop stays on the deployment that it began on: a newer version, registered "
        "on the first day, never mails Ann a letter.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=EffectRepeated(DIGEST, times=8),
        prove=newer_on_the_first,
        right=FROM_THE_SECOND_DAY,
    ),
    "moves-on": Aside(
        "Each message is delivered to the newest deployment: from the second day on it "
        "is a letter.",
        snippet="do",
        stimulus=PLAIN,
        outcome=FROM_THE_SECOND_DAY,
        prove=newer_on_the_first,
    ),
}

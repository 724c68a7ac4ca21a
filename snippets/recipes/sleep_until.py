"""Sleeps until a point in time, durably."""

import time
from datetime import datetime, timedelta

import restate


async def sleep_until(ctx: restate.Context, when: datetime) -> None:
    """Sleeps until then; not at all if it is past.

    The worker's clock will do: it is read where the sleep is first asked for, and a replay goes
    on with the sleep that is in the journal. A reading that was journaled before would make the
    sleep end late by every outage between the two.

    Args:
        when: with a time zone.

    Raises:
        ValueError: `when` has no time zone, so it means another moment on another machine. It is
            retried until the invocation is paused.
    """
    if when.tzinfo is None:
        raise ValueError(f"{when} has no time zone: say which, for instance UTC.")
    left = when.timestamp() - time.time()
    await ctx.sleep(timedelta(seconds=max(0.0, left)))

"""Sleeps until a point in time, durably."""

from datetime import datetime, timedelta

import restate


async def sleep_until(ctx: restate.Context, when: datetime) -> None:
    """Sleeps until then; not at all if it is past.

    The clock is read by `ctx.time()`, once: every replay counts from the same moment.

    Args:
        when: with a time zone.

    Raises:
        ValueError: `when` has no time zone, so it means another moment on another machine. It is
            retried until the invocation is paused.
    """
    if when.tzinfo is None:
        raise ValueError(f"{when} has no time zone: say which, for instance UTC.")
    left = when.timestamp() - await ctx.time()
    await ctx.sleep(timedelta(seconds=max(0.0, left)))

"""Waits for a result, up to a limit."""

from datetime import timedelta
from typing import TypeVar

import restate

T = TypeVar("T")


async def race_with_timeout(
    ctx: restate.Context, future: restate.RestateDurableFuture[T], limit: timedelta
) -> T:
    """The future's result, if it comes in time; else a call is cancelled.

    Args:
        future: of the SDK, started and not awaited: a call, an awakeable, a promise's value.
            A step that is late acts all the same.
        limit: below zero, it is over at once.

    Raises:
        restate.TerminalError: with status 408, when the time is over; or the future's own.
    """
    timer = ctx.sleep(max(limit, timedelta(0)))
    match await restate.select(result=future, timeout=timer):
        case ["result", value]:
            result: T = value
            return result
    if isinstance(future, restate.RestateDurableCallFuture):
        await future.cancel_invocation()
    raise restate.TerminalError(f"no result within {limit}", status_code=408)

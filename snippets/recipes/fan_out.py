"""Several things at a time: all results in order, or the first failure, and no wait for the rest."""

from collections.abc import Sequence
from typing import TypeVar

import restate

T = TypeVar("T")


async def fan_out(futures: Sequence[restate.RestateDurableFuture[T]]) -> list[T]:
    """Waits for all.

    Args:
        futures: of the SDK, started and not awaited: steps, calls, sleeps. If their results are
            of several types, `list[restate.RestateDurableFuture[Any]]`.

    Returns:
        Their results, in the order of the futures.

    Raises:
        restate.TerminalError: of the first future, in that order, that failed for good; once
            all have ended.
    """
    return [await future for future in await restate.gather(*futures)]


async def fan_out_fail_fast(
    futures: Sequence[restate.RestateDurableFuture[T]],
) -> list[T]:
    """Waits for all, or until one fails for good; then cancels the calls that are left.

    A step can't be cancelled: it acts all the same. What a call has done before its cancel
    stays done.

    Args:
        futures: of the SDK, started and not awaited: calls, and whatever else is waited for.

    Returns:
        Their results, in the order of the futures.

    Raises:
        restate.TerminalError: of the first that failed for good.
    """
    futures = list(futures)
    left = list(futures)
    async for future in restate.as_completed(*futures):
        left.remove(future)
        try:
            await future
        except restate.TerminalError:
            for other in left:
                if isinstance(other, restate.RestateDurableCallFuture):
                    await other.cancel_invocation()
            raise
    return [await future for future in futures]

"""A saga: each compensation is registered before its action, and all are undone in reverse."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

import restate
from restate.exceptions import RetryableError

P = ParamSpec("P")
T = TypeVar("T")


class Saga:
    """Steps that are undone if a later one fails for good.

        async with Saga(ctx) as saga:
            await saga.step("reserve", reserve, release, seat=seat, buyer=buyer)
            await saga.step("charge", charge, refund, buyer=buyer, key=key)

    What is undone is what *may* have been done: a step that failed for good too, since it may
    have acted before. So a compensation must do no harm when the action never took place, and
    when it runs twice. Give both the same arguments, and one of them a key drawn before.

    What ends the invocation for good begins the way back: a `TerminalError` that leaves the block,
    an operator's cancel too, or an error of your own that is raised `from` one. Everything else is
    a hiccup, or a suspension: the handler comes here again.

    One step after the other: `step` is a coroutine, which `restate.gather` doesn't take. A cancel
    doesn't stop an action that is under way: it is waited for, and undone then, unless the attempt
    itself is lost meanwhile. Nor does a cancel stop the undoing; only a kill ends it.
    """

    def __init__(
        self, ctx: restate.Context, options: restate.RunOptions[Any] | None = None
    ) -> None:
        """Begins a saga.

        Args:
            options: of the actions, for instance `RunOptions(max_duration=HOUR)`; compensations
                are retried as the invocation is.
        """
        self._ctx = ctx
        self._options = options or restate.RunOptions()
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._acting: list[asyncio.Future[Any]] = []

    @overload
    async def step(
        self,
        name: str,
        action: Callable[P, Coroutine[Any, Any, T]],
        undo: Callable[P, object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...

    @overload
    async def step(
        self,
        name: str,
        action: Callable[P, T],
        undo: Callable[P, object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...

    async def step(
        self,
        name: str,
        action: Callable[..., Any],
        undo: Callable[..., object],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Registers the compensation, then runs the action as a step.

        Args:
            name: of the step; its compensation is the step `undo <name>`.
            action: acts on the world outside; a call to another handler is no step.
            undo: undoes it; is given the same arguments.

        Returns:
            What the action returned.

        Raises:
            restate.TerminalError: the action failed for good.
        """
        self._undo.append((name, partial(undo, *args, **kwargs)))
        watched = self._watched(action)
        return await self._ctx.run_typed(name, watched, self._options, *args, **kwargs)

    def _watched(self, action: Callable[..., Any]) -> Callable[..., Any]:
        """The action, of which the saga knows when it is over."""

        @wraps(action)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            if inspect.iscoroutinefunction(action):
                acting = action(*args, **kwargs)
            else:
                acting = asyncio.to_thread(action, *args, **kwargs)
            acted = asyncio.ensure_future(acting)
            self._acting.append(acted)
            return await acted

        return watched

    async def __aenter__(self) -> "Saga":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Undoes in reverse, each to its end; then the error goes on its way.

        Raises:
            restate.TerminalError: a compensation failed for good too. The others have run; the
                message names what is left to do by hand.
        """
        final = _final(error)
        if final is None:
            return
        if self._acting:  # after a cancel: none must act after its undoing
            await asyncio.wait(self._acting)
        left = []
        for name, undo in reversed(self._undo):
            undoing = self._ctx.run_typed(f"undo {name}", undo)
            await _ended(undoing)
            try:
                await undoing
            except restate.TerminalError as failure:
                left.append(f"{name} ({failure.message})")
        if left:
            raise restate.TerminalError(
                f"{final.message}; not undone: {', '.join(left)}",
                status_code=final.status_code,
                metadata=final.metadata,
            ) from error


async def _ended(step: restate.RestateDurableFuture[Any]) -> None:
    """Waits until a step is over, whatever is cancelled meanwhile."""
    while True:
        try:
            await restate.gather(step)
            return
        except restate.TerminalError:
            continue  # the cancel's, not the step's: that is raised where its result is taken


def _final(error: BaseException | None) -> restate.TerminalError | None:
    """The `TerminalError` that ends the invocation: the error, or what it was raised `from`."""
    while isinstance(error, Exception) and not isinstance(error, RetryableError):
        if isinstance(error, restate.TerminalError):
            return error
        error = error.__cause__
    return None

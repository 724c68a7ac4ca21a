"""A saga: each compensation is registered before its action, and all are undone in reverse."""

from collections.abc import Callable, Coroutine
from functools import partial
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

    A cancel waits for the action that is at work, since its undoing might overtake it. So give
    the actions a limit: without one, that takes as long as the action is retried.

    What ends the invocation for good begins the way back: a `TerminalError` that leaves the block,
    an operator's cancel too, or an error of your own that is raised `from` one. Everything else is
    a hiccup, or a suspension: the handler comes here again.
    """

    def __init__(
        self, ctx: restate.Context, options: restate.RunOptions[Any] | None = None
    ) -> None:
        """Begins a saga.

        Args:
            options: of the actions, for instance `RunOptions(max_attempts=5)`; compensations
                are retried as the invocation is.
        """
        self._ctx = ctx
        self._options = options or restate.RunOptions()
        self._undo: list[tuple[str, Callable[[], object]]] = []

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
            action: acts on the world outside.
            undo: undoes it; is given the same arguments.

        Returns:
            What the action returned.

        Raises:
            restate.TerminalError: the action failed for good, or the invocation was cancelled
                and the action is over.
        """
        self._undo.append((name, partial(undo, *args, **kwargs)))
        acting = self._ctx.run_typed(name, action, self._options, *args, **kwargs)
        try:
            await restate.gather(acting)
        except restate.TerminalError:
            # A cancel. The action may be at work, and its undoing is to come after it.
            await restate.gather(acting)
            raise
        return await acting

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
        left = []
        for name, undo in reversed(self._undo):
            try:
                await self._ctx.run_typed(f"undo {name}", undo)
            except restate.TerminalError as failure:
                left.append(f"{name} ({failure.message})")
        if left:
            raise restate.TerminalError(
                f"{final.message}; not undone: {', '.join(left)}",
                status_code=final.status_code,
            ) from error


def _final(error: BaseException | None) -> restate.TerminalError | None:
    """The `TerminalError` that ends the invocation: the error, or what it was raised `from`."""
    while isinstance(error, Exception) and not isinstance(error, RetryableError):
        if isinstance(error, restate.TerminalError):
            return error
        error = error.__cause__
    return None

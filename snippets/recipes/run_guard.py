"""A guard: a context that is used inside a step is found at once, in a plain test too."""

import contextlib
import contextvars
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import policy
from restate.extensions import current_context

GUARDED = (
    "run", "run_typed", "sleep", "time", "uuid", "random",
    "get", "set", "clear", "clear_all", "state_keys",
    "service_call", "service_send", "object_call", "object_send",
    "workflow_call", "workflow_send", "generic_call", "generic_send",
    "awakeable", "resolve_awakeable", "reject_awakeable", "promise",
    "signal", "resolve_signal", "reject_signal", "scope",
    "cancel_invocation", "attach_invocation",
)  # fmt: skip
"""What issues a command or draws from the invocation's randomness.

Not seen is what was got before: a promise, a scope, a `Random`, a future that the step awaits.
"""

step: contextvars.ContextVar[str | None] = contextvars.ContextVar("step", default=None)
"""Name of the step whose action is running here; None in the handler's own code."""


class ContextInStep(Exception):
    """A context was used inside a step: read before it, act after it."""


@contextlib.asynccontextmanager
async def run_guard() -> AsyncIterator[None]:
    """Guards every handler of a service.

    `restate.Service("Carts", invocation_context_managers=[run_guard])`

    Raises:
        ContextInStep: in the step, under the policy strict. It is no `TerminalError`: the
            invocation is retried, then paused, and goes on when it is resumed on the mended
            code, if that asks for nothing new before the step. A step with `max_attempts` or
            `max_duration` fails for good.
    """
    context: Any = current_context()
    for name in GUARDED:
        if method := getattr(context, name, None):
            setattr(context, name, _guarded(name, method))
    yield


def _guarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if (running := step.get()) is not None:
            policy.found(
                ContextInStep(
                    f"ctx.{name} is called inside the step {running!r}, where no context may "
                    "be used: on replay the step is skipped, and the call with it."
                )
            )
        if name in ("run", "run_typed"):
            # `run` takes both by keyword, too; a step's own argument may be called `options`.
            given = [*args, *(kwargs.pop(k) for k in ("name", "action")[len(args) :])]
            given[1] = _marked(given[0], given[1])
            return method(*given, **kwargs)
        return method(*args, **kwargs)

    return guarded


def _marked(name: str, action: Callable[..., Any]) -> Callable[..., Any]:
    """The action, which knows while it runs that it is one."""
    if inspect.iscoroutinefunction(action):

        @functools.wraps(action)
        async def marked_async(*args: Any, **kwargs: Any) -> Any:
            step.set(name)
            return await action(*args, **kwargs)

        return marked_async

    @functools.wraps(action)
    def marked(*args: Any, **kwargs: Any) -> Any:
        step.set(name)
        return action(*args, **kwargs)

    return marked

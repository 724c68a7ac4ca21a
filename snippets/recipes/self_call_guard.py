"""A guard: an object that would wait for itself is refused the call before it is made."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import policy
import restate
from restate.extensions import current_context
from restate.handler import Handler, handler_from_callable


class SelfCall(Exception):
    """An object called itself on its own key: a send, or a plain function, would do."""


@contextlib.asynccontextmanager
async def self_call_guard() -> AsyncIterator[None]:
    """Guards every handler of an object.

    `restate.VirtualObject("Account", invocation_context_managers=[self_call_guard])`

    Shared handlers may be called, and so may other keys, and other objects with the same key.
    `generic_call` doesn't tell shared handlers from others: on the own key all are refused. Not seen
    is a call that comes back through another handler, also a shared one of its own, one that is made
    by `ctx.scope`, or a send to oneself whose result is waited for with `attach_invocation`.

    Raises:
        SelfCall: at the call, under the policy strict. It is no `TerminalError`: the invocation
            is retried, then paused, and goes on when it is resumed on the mended code. It holds
            its key meanwhile, also if it is cancelled.
    """
    _guard(SelfCall)
    yield


@contextlib.asynccontextmanager
async def terminal_self_call_guard() -> AsyncIterator[None]:
    """The same, for who wants the invocation to end for good.

    Raises:
        restate.TerminalError: at the call, with status 508, under the policy strict.
    """
    _guard(functools.partial(restate.TerminalError, status_code=508))
    yield


def _guard(mistake: Callable[[str], Exception]) -> None:
    context: Any = current_context()
    if context.handler.kind != "exclusive":
        return
    own = (context.handler.service_tag.name, context.key())
    object_call, generic_call = context.object_call, context.generic_call

    def refuse(service: str, key: str | None, handler: str) -> None:
        if (service, key) == own:
            policy.found(
                mistake(
                    f"{service}/{key} calls its own handler {handler!r}, and would wait for "
                    "itself for ever. Send instead of calling, or call a plain function."
                )
            )

    @functools.wraps(object_call)
    def guarded_call(tpe: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        target: Handler[Any, Any] = handler_from_callable(tpe)
        if target.kind != "shared":
            refuse(target.service_tag.name, key, target.name)
        return object_call(tpe, key, *args, **kwargs)

    @functools.wraps(generic_call)
    def guarded_generic(
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        refuse(service, key, handler)
        return generic_call(service, handler, arg, key, *args, **kwargs)

    context.object_call, context.generic_call = guarded_call, guarded_generic

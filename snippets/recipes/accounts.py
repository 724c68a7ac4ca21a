"""Accounts that are guarded against waiting for themselves, and against a context in a step."""

import restate
from run_guard import run_guard
from self_call_guard import self_call_guard, terminal_self_call_guard

account = restate.VirtualObject(
    "Account", invocation_context_managers=[run_guard, self_call_guard]
)
strict = restate.VirtualObject(
    "Strict", invocation_context_managers=[terminal_self_call_guard]
)


@account.handler()
async def add(ctx: restate.ObjectContext, amount: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + amount
    ctx.set("total", total)
    return total


@account.handler(kind="shared")
async def total(ctx: restate.ObjectSharedContext) -> int:
    return await ctx.get("total", type_hint=int) or 0


@account.handler()
async def add_twice(ctx: restate.ObjectContext, key: str) -> int:
    """A mistake where the key is its own."""
    await ctx.object_call(add, key=key, arg=1)
    return await ctx.object_call(add, key=key, arg=1)


@account.handler()
async def look(ctx: restate.ObjectContext) -> int:
    return await ctx.object_call(total, key=ctx.key(), arg=None)


@account.handler()
async def note(ctx: restate.ObjectContext, what: str) -> None:
    """A mistake: the run guard finds it."""
    await ctx.run_typed("note", lambda: ctx.set("note", what))


@strict.handler()
async def again(ctx: restate.ObjectContext) -> None:
    """A mistake: the self-call guard finds it."""
    await ctx.object_call(again, key=ctx.key(), arg=None)


@strict.handler()
async def elsewhere(ctx: restate.ObjectContext) -> int:
    return await ctx.object_call(add, key=ctx.key(), arg=5)


app = restate.app([account, strict])

"""Locks a machine for five minutes, or until it is released; its key is never held."""

from datetime import timedelta

import restate

LIMIT = timedelta(minutes=5)

locks = restate.VirtualObject("Locks")


@locks.handler()
async def acquire(ctx: restate.ObjectContext, owner: str) -> str:
    holder = await ctx.get("owner", type_hint=str)
    if holder is not None:
        raise restate.TerminalError(f"locked by {holder}", status_code=409)
    lease = str(ctx.uuid())
    ctx.set("owner", owner)
    ctx.set("lease", lease)
    ctx.object_send(release, key=ctx.key(), arg=lease, send_delay=LIMIT)
    return lease


@locks.handler()
async def release(ctx: restate.ObjectContext, lease: str) -> bool:
    """Ends this lease only: the message that comes after five minutes may find another."""
    if await ctx.get("lease", type_hint=str) != lease:
        return False
    ctx.clear_all()
    return True


@locks.handler(kind="shared")
async def owner(ctx: restate.ObjectSharedContext) -> str | None:
    return await ctx.get("owner", type_hint=str)


app = restate.app([locks])

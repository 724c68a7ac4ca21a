"""Keeps a session's user and basket; logging out ends the session."""

import restate

sessions = restate.VirtualObject("Sessions")


@sessions.handler()
async def login(ctx: restate.ObjectContext, user: str) -> str:
    ctx.set("user", user)
    return f"hello {user}"


@sessions.handler()
async def put(ctx: restate.ObjectContext, item: str) -> str:
    ctx.set("basket", item)
    return f"{item} is in the basket"


@sessions.handler()
async def logout(ctx: restate.ObjectContext) -> str:
    ctx.clear("user")
    return "goodbye"


app = restate.app([sessions])

"""Counts the votes of a poll, in a handler that has the poll for itself."""

import restate

polls = restate.VirtualObject("Polls")


@polls.handler()
async def vote(ctx: restate.ObjectContext, choice: str) -> int:
    votes = await ctx.get(choice, type_hint=int)
    votes = 1 if votes is None else votes + 1
    ctx.set(choice, votes)
    return votes


app = restate.app([polls])

"""Counts the votes of a poll, in a handler that many voters may enter at once."""

import restate

polls = restate.VirtualObject("Polls")


@polls.handler(kind="shared")
async def vote(ctx: restate.ObjectContext, choice: str) -> int:
    votes = await ctx.get(choice, type_hint=int)
    votes = 1 if votes is None else votes + 1
    ctx.set(choice, votes)
    return votes


app = restate.app([polls])

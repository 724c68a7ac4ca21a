"""Takes the votes of a poll, many at once; another handler counts them."""

import restate

polls = restate.VirtualObject("Polls")


@polls.handler()
async def count(ctx: restate.ObjectContext, choice: str) -> None:
    votes = await ctx.get(choice, type_hint=int)
    ctx.set(choice, 1 if votes is None else votes + 1)


@polls.handler(kind="shared")
async def vote(ctx: restate.ObjectSharedContext, choice: str) -> str:
    ctx.object_send(count, key=ctx.key(), arg=choice)
    return f"thank you for {choice}"


app = restate.app([polls])

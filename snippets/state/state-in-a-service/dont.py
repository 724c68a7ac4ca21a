"""Tells whether a user signs in from another device than last time."""

import restate

sign_ins = restate.Service("SignIns")


@sign_ins.handler()
async def check(ctx: restate.ObjectContext, device: str) -> str:
    last = await ctx.get("device", type_hint=str)
    ctx.set("device", device)
    return "same device" if device == last else "another device"


app = restate.app([sign_ins])

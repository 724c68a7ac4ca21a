"""Redeems a voucher that may be used twice."""

import restate

USES = 2

vouchers = restate.VirtualObject("Vouchers")


@vouchers.handler()
async def redeem(ctx: restate.ObjectContext) -> str:
    left = await ctx.get("left", type_hint=int) or USES
    if left == 0:
        return "used up"
    ctx.set("left", left - 1)
    return f"redeemed, {left - 1} left"


app = restate.app([vouchers])

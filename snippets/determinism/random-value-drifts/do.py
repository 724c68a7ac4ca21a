"""Books a voucher and mails its code, which every attempt draws alike."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

vouchers = restate.Service("Vouchers")


def book(code: str) -> str:
    response = httpx.post(f"{API_URL}/vouchers", json={"code": code})
    response.raise_for_status()
    return code


def mail(to: str, code: str) -> str:
    response = httpx.post(f"{API_URL}/emails", json={"to": to, "code": code})
    response.raise_for_status()
    return code


@vouchers.handler()
async def issue(ctx: restate.Context, to: str) -> dict[str, str]:
    code = str(ctx.uuid())
    booked = await ctx.run_typed("book", book, code=code)
    mailed = await ctx.run_typed("mail", mail, to=to, code=code)
    return {"booked": booked, "mailed": mailed}


app = restate.app([vouchers])

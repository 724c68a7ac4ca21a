"""Books a room and mails the booking number, which every attempt draws alike."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

rooms = restate.Service("Rooms")


def book(number: str) -> str:
    response = httpx.post(f"{API_URL}/bookings", json={"number": number})
    response.raise_for_status()
    return number


def mail(to: str, number: str) -> str:
    response = httpx.post(f"{API_URL}/emails", json={"to": to, "number": number})
    response.raise_for_status()
    return number


@rooms.handler()
async def reserve(ctx: restate.Context, to: str) -> dict[str, str]:
    number = str(ctx.uuid())
    booked = await ctx.run_typed("book", book, number=number)
    mailed = await ctx.run_typed("mail", mail, to=to, number=number)
    return {"booked": booked, "mailed": mailed}


app = restate.app([rooms])

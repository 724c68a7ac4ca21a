"""Has the cost of a trip approved by mail: the mail is sent by the handler itself."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

trips = restate.Service("Trips")


def mail(trip: str, link: str) -> None:
    body = {"to": "boss@example.com", "trip": trip, "link": link}
    httpx.post(f"{API_URL}/emails", json=body).raise_for_status()


@trips.handler()
async def approve(ctx: restate.Context, trip: str) -> str:
    approval, decision = ctx.awakeable(type_hint=str)
    link = f"https://trips.example.com/{approval}"
    mail(trip, link)
    return f"{trip}: {await decision}"


app = restate.app([trips])

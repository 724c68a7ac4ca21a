"""Books the two places of a workshop, and mails everybody the answer."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")
PLACES = 2

workshops = restate.VirtualObject("Workshops")


def mail(name: str, text: str) -> None:
    body = {"to": name, "text": text}
    httpx.post(f"{API_URL}/emails", json=body).raise_for_status()


@workshops.handler()
async def book(ctx: restate.ObjectContext, name: str) -> str:
    booked = await ctx.get("booked", type_hint=list[str]) or []
    answer = "full" if len(booked) >= PLACES else "booked"
    if answer == "booked":
        ctx.set("booked", [*booked, name])
    await ctx.run_typed(f"mail {name}", mail, name=name, text=answer)
    return answer


app = restate.app([workshops])

"""Asks a customer for a review; a plain function that returns what is to be awaited."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

shop = restate.Service("Shop")


def mail(customer: str) -> str:
    response = httpx.post(f"{API_URL}/emails", json={"to": customer})
    return str(response.raise_for_status().json()["id"])


@shop.handler()
def delivered(ctx: restate.Context, customer: str) -> restate.RestateDurableFuture[str]:
    return ctx.run_typed("mail", mail, customer=customer)


app = restate.app([shop])

"""Sends goods; what is no order is refused with 400, at once."""

import os
from typing import Any

import httpx
import restate
from pydantic import BaseModel, ValidationError

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


class Order(BaseModel):
    item: str
    quantity: int


def ship(item: str, quantity: int) -> str:
    body = {"item": item, "quantity": quantity}
    response = httpx.post(f"{API_URL}/parcels", json=body)
    return str(response.raise_for_status().json()["id"])


@parcels.handler()
async def send(ctx: restate.Context, body: Any) -> str:
    try:
        order = Order.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        reason = f"{where}: {first['msg']}"
        raise restate.TerminalError(reason, status_code=400) from error
    return await ctx.run_typed("ship", ship, **order.model_dump())


app = restate.app([parcels])

"""Sends goods; a model in the signature, and 400 for what doesn't fit it."""

import contextlib
from collections.abc import AsyncIterator

import restate
from pydantic import BaseModel


@contextlib.asynccontextmanager
async def refusing() -> AsyncIterator[None]:
    """Round each attempt, and round the parsing of its input."""
    try:
        yield
    except restate.TerminalError as error:
        refused = error.message.startswith("Unable to parse an input argument")
        if refused and error.__cause__:  # a handler that it called has none here
            raise restate.TerminalError("no order", status_code=400) from error
        raise


parcels = restate.Service("Parcels", invocation_context_managers=[refusing])


class Order(BaseModel):
    item: str
    quantity: int


@parcels.handler()
async def send(ctx: restate.Context, order: Order) -> str:
    if order is None:
        raise restate.TerminalError("an empty body", status_code=400)
    return f"{order.quantity} of {order.item}"


app = restate.app([parcels])

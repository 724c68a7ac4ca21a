"""Orders a courier for a parcel; a serde of its own turns a list of models into JSON."""

import os
from datetime import date

import httpx
import restate
from pydantic import BaseModel, TypeAdapter
from restate.serde import Serde

API_URL = os.environ.get("API_URL", "http://localhost:9000")

parcels = restate.Service("Parcels")


class Pickup(BaseModel):
    day: date


class Pickups(Serde[list[Pickup]]):
    adapter = TypeAdapter(list[Pickup])

    def serialize(self, obj: list[Pickup] | None) -> bytes:
        return self.adapter.dump_json(obj or [])

    def deserialize(self, buf: bytes) -> list[Pickup]:
        return self.adapter.validate_json(buf)


def order_couriers(parcel: str) -> list[Pickup]:
    response = httpx.post(f"{API_URL}/pickups", json={"parcel": parcel})
    return [Pickup(day=response.raise_for_status().json()["day"])]


@parcels.handler()
async def collect(ctx: restate.Context, parcel: str) -> str:
    options = restate.RunOptions(serde=Pickups())
    step = ctx.run_typed("order courier", order_couriers, options, parcel=parcel)
    return f"on {(await step)[0].day:%A}"


app = restate.app([parcels])

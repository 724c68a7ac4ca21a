"""Corrects a meter's readings: a model in the code, eight bytes each on the wire."""

import struct

import restate
from pydantic import BaseModel
from restate.serde import Serde

BYTES = "application/octet-stream"
WIRE = struct.Struct("!If")

meters = restate.VirtualObject("Meters")


class Reading(BaseModel):
    number: int
    celsius: float


class Packed(Serde[Reading]):
    def serialize(self, obj: Reading | None) -> bytes:
        return WIRE.pack(obj.number, obj.celsius) if obj else b""

    def deserialize(self, buf: bytes) -> Reading:
        number, celsius = WIRE.unpack(buf)
        return Reading(number=number, celsius=celsius)


@meters.handler()
async def calibrate(ctx: restate.ObjectContext, offset: float) -> None:
    ctx.set("offset", offset)


@meters.handler(
    kind="shared",
    accept=BYTES,
    content_type=BYTES,
    input_serde=Packed(),
    output_serde=Packed(),
)
async def correct(ctx: restate.ObjectSharedContext, reading: Reading) -> Reading:
    offset = await ctx.get("offset", type_hint=float)
    return Reading(number=reading.number, celsius=reading.celsius + (offset or 0.0))


app = restate.app([meters])

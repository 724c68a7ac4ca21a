"""Prices a trip: three services are asked at the same time, and all are waited for."""

import os

import httpx
import restate

API_URL = os.environ.get("API_URL", "http://localhost:9000")

flights = restate.Service("Flights")
hotels = restate.Service("Hotels")
cars = restate.Service("Cars")
trips = restate.Service("Trips")


def price(what: str, city: str) -> int:
    response = httpx.get(f"{API_URL}/{what}/{city}", timeout=30)
    return int(response.raise_for_status().json())


@flights.handler()
async def fly(ctx: restate.Context, city: str) -> int:
    return await ctx.run_typed("price", price, what="flights", city=city)


@hotels.handler()
async def stay(ctx: restate.Context, city: str) -> int:
    return await ctx.run_typed("price", price, what="hotels", city=city)


@cars.handler()
async def drive(ctx: restate.Context, city: str) -> int:
    return await ctx.run_typed("price", price, what="cars", city=city)


@trips.handler()
async def total(ctx: restate.Context, city: str) -> int:
    calls = [ctx.service_call(ask, city) for ask in (fly, stay, drive)]
    await restate.gather(*calls)
    return sum([await call for call in calls])


app = restate.app([flights, hotels, cars, trips])

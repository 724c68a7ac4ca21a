"""What the lab's outside does that is unwell later."""

from __future__ import annotations

import asyncio

from restate_guide.lab.outside import Outside, Received
from tests.conftest import apart


def test_an_outside_fails_after_some_requests_and_is_well_again() -> None:
    async def on_received(received: Received) -> None:
        pass

    async def statuses() -> list[int]:
        service = Outside("http://outside", on_received)
        service.fail("POST /digests", times=1, status=410, after=2)
        return [(await service.receive("POST /digests", None, None, {}))[0] for _ in range(4)]

    assert apart(asyncio.run, statuses()) == [201, 201, 410, 201]

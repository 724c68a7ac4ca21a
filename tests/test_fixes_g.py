"""What the pages on operations tell operators to do, done on a real server."""

from __future__ import annotations

import pytest

from restate_guide.catalogue import ROOT
from restate_guide.lab import Lab as LabInProof
from tests.conftest import Lab
from tests.test_fixes import run

CHAPTER = ROOT / "snippets" / "operations"

pytestmark = pytest.mark.server


def test_service_is_closed_at_once_until_the_next_registration(lab: Lab) -> None:
    """RDD602: by the admin API; what the code says holds again once it is registered."""

    async def close(in_proof: LabInProof) -> None:
        await in_proof.admin("PATCH", "/services/Refunds", {"public": False})
        for way in ("Refunds/refund", "Refunds/refund/send", "restate/call/Refunds/refund"):
            answer = await in_proof.call(way, "order-2")
            assert answer["message"] == "the invoked service is not public"
        assert await in_proof.call("Returns/claim", "order-1") == "refunded order-1"
        await in_proof.deploy("dont")
        assert await in_proof.call("Refunds/refund", "order-2") == "refunded order-2"

    run(lab, str(CHAPTER / "internal-service-public"), close)

"""The page How it is proven: what it says of the lab is what the lab does."""

from __future__ import annotations

import re

from restate_guide import catalogue
from restate_guide.catalogue import ROOT
from restate_guide.lab import load
from restate_guide.lab.worker import ATTEMPTS, HTTPX_DEFAULT, LOADED_MACHINE

PAGE = (ROOT / "docs" / "how-it-is-proven.md").read_text()


def test_it_names_the_proofs_that_set_their_server() -> None:
    named = set(re.findall(r"\[\[(RDD\d+)\]\]", PAGE))
    proofs = {rule.id: load(rule.folder) for rule in catalogue.rules()}
    assert named == {
        name
        for name, proof in proofs.items()
        if proof.server or any(aside.server for aside in proof.asides.values())
    }


def test_it_says_what_the_lab_changes() -> None:
    assert f"there are {ATTEMPTS} attempts" in PAGE
    assert f"gets {LOADED_MACHINE:.0f} seconds instead of `httpx`’s {HTTPX_DEFAULT:.0f}" in PAGE

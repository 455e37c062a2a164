"""Every proof of the catalog ends with a proof, and what is broken is refuted, by the name of a claim."""

from dataclasses import replace
from pathlib import Path

import pytest
from catalog import FAMILIES, FAULTS, PROOFS
from proof_table import PAGE, with_table
from proving import prove

from helpers import ROOT

#: Cycles from reset in which a fault must be seen.
FAULT_CYCLES = 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long_proof] * proof.long) for name, proof in PROOFS.items()]
)
def test_it_is_proved(name: str, tmp_path: Path) -> None:
    verdict = prove(PROOFS[name], tmp_path)
    assert (verdict.result, verdict.failed) == ("PASS", frozenset()), verdict.written[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_refuted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    fault.plant(monkeypatch)
    verdict = prove(replace(PROOFS[fault.proof], bounded=True, cycles=FAULT_CYCLES), tmp_path)
    assert verdict.result == "FAIL"
    assert [claim for claim in verdict.failed if claim.startswith(fault.fails)], sorted(verdict.failed)


def test_every_family_has_a_fault_and_every_proof_a_unit() -> None:
    assert [family.__name__ for family in FAMILIES if not {fault.proof for fault in family.FAULTS.values()}] == []
    assert len(PROOFS) == sum(len(family.PROOFS) for family in FAMILIES)
    assert [name for name, proof in PROOFS.items() if not (ROOT / proof.of).is_file()] == []


def test_the_page_lists_the_proofs() -> None:
    """After a change: ``python tests/tools/proof_table.py``."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page


def test_a_changed_proof_is_seen_in_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page.replace("| `root` |", "| `square_root` |")) == page

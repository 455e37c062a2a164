"""The table of proofs in docs/proofs.md: ``python tests/tools/proof_table.py`` writes it anew."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [] if __name__ != "__main__" else [str(ROOT / "tests" / "formal")]

from catalog import PROOFS  # noqa: E402

PAGE = ROOT / "docs" / "proofs.md"
BEGIN, END = "<!-- proofs: begin -->\n", "<!-- proofs: end -->\n"


def table() -> str:
    """Return the table: a row a proof."""
    rows = [
        f"| `{name}` | `{proof.of}` | {proof.says} | {proof.size} | {proof.method}{', long' if proof.long else ''} |"
        for name, proof in PROOFS.items()
    ]
    return "\n".join(["| proof | of | what holds | size | method |", "|---|---|---|---|---|", *rows]) + "\n"


def with_table(page: str) -> str:
    """Return the page with the table between its marks."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

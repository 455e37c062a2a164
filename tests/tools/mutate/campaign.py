"""Runs the checks of an engine on its mutants, and keeps what came of each."""

from __future__ import annotations

import hashlib
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bivit.hw.emit import engine_verilog
from bivit.sim.errors import check

from .equivalents import Listed
from .planting import chosen, planted_text
from .proof import is_equal
from .sampling import sample
from .sites import Mutant
from .subjects import Check, subject_of

#: Seconds after which a simulation hangs.
PATIENCE_S = 60
#: Checks that kill most and are cheaper than a proof that there is nothing to be seen.
_CHEAP = 2
#: Of what a check found, so many characters are kept.
_KEPT = 200


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Parameters
    ----------
    key, unit, signal, what, before, after : str
        Of the mutant.
    verdict : {"killed", "survived", "equivalent"}
        Whether a check saw it.
    by : str
        The check that saw it, or why it is equivalent.
    found : str
        What the check found wrong first; of one that survived, where it was seen to do something else all the same.
    """

    key: str
    unit: str
    signal: str
    what: str
    before: str
    after: str
    verdict: str
    by: str = ""
    found: str = ""


class Campaign:
    """The mutants of an engine and the results so far.

    Parameters
    ----------
    engine : str
        As `subjects.subject_of`.
    count, seed, unit
        As `sampling.sample`.
    cache : Path, optional
        Where builds and results are kept; without it builds go where co-simulation keeps its own.
    again : bool
        Try those again that survived before.
    """

    def __init__(
        self, engine: str, *, count: int, seed: int, unit: str = "", cache: Path | None = None, again: bool = False
    ):
        check(count > 0, f"the number of mutants must be positive, got {count}")
        self.engine, self.subject, self.cache = engine, subject_of(engine), cache
        verilog = engine_verilog(self.subject.flow)
        self.mutants = sample(verilog, count, seed, unit)
        self.listed, self.verilog = Listed.of(engine), verilog
        self.kept = Kept(cache, f"{engine}-{hashlib.sha256(verilog.encode()).hexdigest()[:12]}", again)

    def run(self, progress: Callable[[int, int], None] = lambda done, count: None) -> list[Verdict]:
        """Try every mutant of which nothing is known; return all verdicts in the order of the mutants.

        Raises
        ------
        BivitError
            When the simulation cannot be built, or a check does not pass without a mutant.
        """
        found = [self._known(mutant) for mutant in self.mutants]
        checks: list[Ready] = []
        for number, mutant in enumerate(self.mutants):
            progress(number, len(self.mutants))
            if found[number] is None:
                checks = checks or [Ready(one) for one in self._checks()]
                found[number] = judged(self.verilog, number + 1, mutant, checks)
                self.kept.add(found[number])
        progress(len(self.mutants), len(self.mutants))
        return [verdict for verdict in found if verdict is not None]

    def _known(self, mutant: Mutant) -> Verdict | None:
        """What needs no simulation: a listed reason, or an earlier result."""
        reason = self.listed.reason(mutant)
        return self.kept.verdicts.get(mutant.key) if reason is None else _verdict(mutant, "equivalent", reason)

    def _checks(self) -> list[Check]:
        """The checks of the engine with all mutants in it."""
        return self.subject.checks(planted_text(self.verilog, self.mutants), self.cache)


@dataclass
class Ready:
    """A check, and what its simulations do without a mutant, which is found out when it is asked for."""

    check: Check

    @cached_property
    def did(self) -> list[str]:
        """What the simulations do; the check passes then, or the tool itself is broken."""
        with chosen(0) as did:
            wrong = self.check.run()
        check(not wrong, f"{self.check.name} fails without a mutant: {'; '.join(wrong)[:_KEPT]}")
        return did


def judged(verilog: str, number: int, mutant: Mutant, checks: Sequence[Ready]) -> Verdict:
    """Tell which check sees a mutant first, or else whether it is equivalent, or did anything otherwise at all.

    Parameters
    ----------
    verilog : str
        Of the engine, without mutants.
    number : int
        By which the mutant is chosen in a simulation.
    mutant : Mutant
    checks : sequence of Ready
        The cheapest first.

    Raises
    ------
    BivitError
        When a check does not pass without a mutant.
    """
    same = set[str]()
    for place, ready in enumerate(checks):
        one = ready.check
        if place == _CHEAP and is_equal(verilog, mutant):
            return _verdict(mutant, "equivalent", "Yosys proves the module with it equal")
        if one.within in same:
            continue
        did = ready.did
        wrong, does = _findings(number, one)
        if wrong:
            return _verdict(mutant, "killed", one.name, wrong[0][:_KEPT])
        if does == did:
            same.add(one.name)
    seen = [ready.check.name for ready in checks if not {ready.check.name, ready.check.within} & same]
    return _verdict(mutant, "survived", found=f"writes or cycles differ in {', '.join(seen)}" if seen else "")


def _verdict(mutant: Mutant, verdict: str, by: str = "", found: str = "") -> Verdict:
    return Verdict(
        *(mutant.key, mutant.unit, mutant.signal, mutant.what, mutant.before, mutant.after), verdict, by, found
    )


def _findings(number: int, one: Check) -> tuple[list[str], list[str]]:
    """What a check finds wrong with a mutant, and what its simulations do; one that does not end is wrong as well."""
    with chosen(number) as does:
        try:
            with _deadline(PATIENCE_S):
                return one.run(), does
        except TimeoutError:
            return [f"no end within {PATIENCE_S} s"], does
        except Exception as error:  # of a check that meets what no engine should do
            return [f"{type(error).__name__}: {error}"], does


@contextmanager
def _deadline(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` in the main thread after so many seconds; the runner then ends the simulation."""

    def late(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Kept:
    """Verdicts in a file, a line each, so that a campaign that is cut off goes on where it was."""

    def __init__(self, cache: Path | None, name: str, again: bool):
        self.path = None if cache is None else cache / f"{name.replace(':', '-')}.jsonl"
        self.verdicts: dict[str, Verdict] = {}
        if self.path is not None and self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                one = Verdict(**json.loads(line))
                self.verdicts[one.key] = one
        if again:
            self.verdicts = {key: one for key, one in self.verdicts.items() if one.verdict != "survived"}

    def add(self, one: Verdict | None) -> None:
        """Keep a verdict."""
        if self.path is not None and one is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(one)) + "\n")


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many were killed, survived and are equivalent."""
    found = Counter(one.verdict for one in verdicts)
    return {name: found[name] for name in ("killed", "survived", "equivalent")}


def described(one: Verdict) -> str:
    """A mutant to look at."""
    return (
        f"{one.verdict}: {one.unit}, {one.what}\n  - {one.before}\n  + {one.after}\n  {one.found or 'nothing differs'}"
    )

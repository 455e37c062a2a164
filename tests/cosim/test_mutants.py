"""The tool that plants faults in generated Verilog: what it plants, what it calls killed or equivalent, a sample."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mutate import campaign
from mutate.campaign import Kept, Ready, Verdict, described
from mutate.equivalents import Entry, Listed, all_entries
from mutate.faults import faults
from mutate.planting import planted_text, width_of
from mutate.proof import is_equal
from mutate.sampling import sample
from mutate.sites import Mutant, units
from mutate.subjects import ENGINES, Check

from bivit.sim.errors import BivitError
from helpers import ROOT

#: Every form of a line that the writer makes; `named` gives something a name, and nothing depends on it.
VERILOG = """module leaf (clk, i, o);
  input clk;
  wire clk;
  input [3:0] i;
  wire [3:0] i;
  output [3:0] o;
  reg [3:0] o = 4'h0;
  always @(posedge clk)
    o <= i;
endmodule
module unit (clk, rst, a, b, o, p);
  wire [4:0] \\$1 ;
  wire [4:0] \\$2 ;
  wire \\$3 ;
  input clk;
  wire clk;
  input rst;
  wire rst;
  input [3:0] a;
  wire [3:0] a;
  input [3:0] b;
  wire [3:0] b;
  output [3:0] o;
  reg [3:0] o = 4'h0;
  reg [3:0] o_next ;
  output [3:0] p;
  wire [3:0] p;
  wire \\named ;
  assign \\$1  = a + b;
  assign \\$2  = \\$3  ? 5'h00 : \\$1 ;
  assign \\$3  = a == b;
  assign \\named  = a[0];
  always @(posedge clk)
    o <= o_next ;
  leaf inner (
    .clk(clk),
    .i(b),
    .o(p)
  );
  always @* begin
    if (\\$dump_module$0 ) begin end
    o_next  = \\$2 [3:0];
    if (rst) begin
      o_next  = 4'h0;
    end
  end
endmodule
"""


def mutants_of(unit: str, verilog: str = VERILOG) -> list[Mutant]:
    return next(one for one in units(verilog) if one.name == unit).mutants()


def mutant(before: str, after: str, unit: str = "unit", verilog: str = VERILOG) -> Mutant:
    (found,) = {
        one.key: one for one in mutants_of(unit, verilog) if (one.before, one.after) == (before, after)
    }.values()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", ["a - b"]),
        ("\\$1  - b", ["\\$1 + b ", "b - \\$1 "]),
        ("a >= b", ["a > b", "a < b", "b >= a"]),
        (
            "$signed(a) >= $signed(b)",
            ["$signed(a) > $signed(b)", "$signed(a) < $signed(b)", "$signed(b) >= $signed(a)"],
        ),
        ("a ? b : 2'h3", ["a ? 2'h3 : b", "b", "2'h3", "a ? b : 2'h0", "a ? b : 2'h2", "a ? b : 2'h1"]),
        ("~ a", ["a"]),
        ("| a", ["& a"]),
        ("a[2:1]", ["a[3:2]", "a[1:0]"]),
        ("a[3]", ["a[2]"]),
        ("{ a[1:0], 1'h0 }", ["{ a[2:1], 1'h0 }", "{ a[1:0], 1'h1 }"]),
        ("store[a]", []),
        ("a", []),
    ],
)
def test_what_is_planted_in_an_expression(text: str, expected: Sequence[str]) -> None:
    assert [one.text for one in faults(text, {"a": 4, "b": 4})] == expected


def test_an_expression_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown Verilog: '@ b'"):
        list(faults("a @ b", {}))


def test_every_form_of_a_line_has_mutants_and_what_nothing_reads_has_none() -> None:
    found = mutants_of("unit")
    assert {one.place.form for one in found} == {"assign", "set", "register", "condition", "port"}
    assert not [one for one in found if "named" in one.before or "dump_module" in one.before]
    assert {one.what for one in found if one.before == "if (rst) begin"} == {"condition stuck at 0"}
    assert {one.what for one in found if one.before == "o <= o_next ;"} == {"a cycle late", "stuck"}
    assert {one.after for one in found if one.before == ".i(b),"} == {".i(1'h0),"}
    assert {one.signal for one in found} == {"o", "o_next", "\\$1", "\\$2", "\\$3", "inner"}
    assert len({one.key for one in found}) == len(found)


@pytest.mark.parametrize(("target", "bits"), [("a", 4), ("\\$2 ", 5), ("\\$2 [3:1]", 3), ("{ a[2], \\$2 [1:0] }", 3)])
def test_the_width_of_what_is_set(target: str, bits: int) -> None:
    assert width_of(target, {"a": 4, "\\$2": 5}) == bits


def test_planted_text_has_every_mutant_and_the_right_line() -> None:
    found = mutants_of("unit")
    text = planted_text(VERILOG, found)
    assert all(f"mutants::number == {number} " in text.replace(")", " ") for number in range(1, len(found) + 1))
    assert f"mutants::number == {len(found) + 1} " not in text.replace(")", " ")
    assert re.search(r"^  wire \[4:0\] mutants_right_\d+ = a \+ b;$", text, re.M)
    assert planted_text(VERILOG, []).endswith(VERILOG)


def test_a_sample_stays_where_a_module_does_not_change() -> None:
    all_of = sample(VERILOG, 20, seed=1)
    assert {one.unit for one in all_of} == {"leaf", "unit"}
    assert all_of == sample(VERILOG, 20, seed=1)
    assert all_of != sample(VERILOG, 20, seed=2)
    changed = VERILOG.replace("o <= i;", "o <= ~ i;")
    of_unit = [one.key for one in sample(VERILOG, 200, seed=1) if one.unit == "unit"]
    assert [one.key for one in sample(changed, 200, seed=1) if one.unit == "unit"] == of_unit
    assert {one.unit for one in sample(VERILOG, 20, seed=1, unit="leaf")} == {"leaf"}


def test_a_proof_tells_an_equal_module_from_another() -> None:
    same = "assign \\$2  = \\$3  ? 5'h00 : \\$1 ;"
    assert is_equal(VERILOG, mutant(same, "assign \\$2  = \\$3 ? 5'h10 : \\$1 ;"))  # the fifth bit is not used
    assert not is_equal(VERILOG, mutant(same, "assign \\$2  = \\$3 ? 5'h1 : \\$1 ;"))
    assert not is_equal(VERILOG, mutant("o <= o_next ;", "o <= o_next ; // a cycle later"))
    assert not is_equal(VERILOG, mutant(".i(b),", ".i(1'h0),"))


def check_of(findings: list[str], *, within: str = "", name: str = "some") -> Ready:
    """A check that finds something in every engine but the right one."""
    return Ready(Check(name, lambda: findings if CHOSEN else [], within))


CHOSEN: list[int] = []


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a check know whether a mutant is chosen, without a simulation."""

    @contextmanager
    def chosen(number: int) -> Iterator[list[str]]:
        CHOSEN[:] = [number] if number else []
        yield []

    monkeypatch.setattr(campaign, "chosen", chosen)
    yield
    CHOSEN.clear()


def verdict_of(mutant: Mutant, *checks: Ready) -> tuple[str, str]:
    found = campaign.judged(VERILOG, 1, mutant, checks)
    return found.verdict, found.by


SEEN = "assign \\$3  = a == b;", "assign \\$3  = a != b;"


@pytest.mark.usefixtures("planted")
def test_the_first_check_that_finds_something_kills() -> None:
    bad = mutant(*SEEN)
    quiet, loud = check_of([], name="quiet"), check_of(["wrong"], name="loud")
    assert verdict_of(bad, quiet, loud) == ("killed", "loud")
    assert verdict_of(bad, quiet, quiet, quiet) == ("survived", "")
    assert verdict_of(bad, quiet, quiet, loud) == ("killed", "loud")
    # What a check did as without a mutant, another one within it need not look at.
    assert verdict_of(bad, quiet, check_of(["wrong"], within="quiet")) == ("survived", "")


@pytest.mark.usefixtures("planted")
def test_a_known_equivalent_is_reported_so() -> None:
    same = mutant("assign \\$2  = \\$3  ? 5'h00 : \\$1 ;", "assign \\$2  = \\$3 ? 5'h10 : \\$1 ;")
    verdict, by = verdict_of(same, check_of([]), check_of([]), check_of(["wrong"]))
    assert (verdict, by) == ("equivalent", "Yosys proves the module with it equal")


@pytest.mark.usefixtures("planted")
def test_a_check_that_breaks_or_never_ends_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> list[str]:
        if CHOSEN:
            raise LookupError("no such write")
        return []

    def hangs() -> list[str]:
        time.sleep(3 if CHOSEN else 0)
        return []

    monkeypatch.setattr(campaign, "PATIENCE_S", 1)
    bad = mutant(*SEEN)
    broken = campaign.judged(VERILOG, 1, bad, [Ready(Check("breaks", breaks))])
    hanging = campaign.judged(VERILOG, 1, bad, [Ready(Check("hangs", hangs))])
    assert (broken.verdict, broken.found) == ("killed", "LookupError: no such write")
    assert (hanging.verdict, hanging.found) == ("killed", "no end within 1 s")


def test_a_check_that_fails_without_a_mutant_is_an_error() -> None:
    ready = Ready(Check("broken", lambda: ["wrong"]))
    with pytest.raises(BivitError, match="broken fails without a mutant: wrong"):
        campaign.judged(VERILOG, 1, mutant(*SEEN), [ready])


def test_results_are_kept_and_survivors_tried_again(tmp_path: Path) -> None:
    killed, survived = (Verdict(key, "unit", "o", "what", "before", "after", key) for key in ("killed", "survived"))
    kept = Kept(tmp_path / "folder", "random:3", again=False)
    assert kept.verdicts == {}
    kept.add(killed)
    kept.add(survived)
    assert Kept(tmp_path / "folder", "random:3", again=False).verdicts == {"killed": killed, "survived": survived}
    assert Kept(tmp_path / "folder", "random:3", again=True).verdicts == {"killed": killed}
    assert campaign.counts([killed, survived, killed]) == {"killed": 2, "survived": 1, "equivalent": 0}


def test_every_reason_is_of_an_engine_and_says_why() -> None:
    for entry in all_entries():
        assert entry.engine in (*ENGINES, "any")
        assert len(entry.reason.split()) > 4
        assert entry.mutants
        assert all(len(pair) == 2 for pair in entry.mutants)


def test_a_listed_mutant_is_known_by_its_lines() -> None:
    some = mutants_of("unit")
    pair = ["assign \\$#  = \\$#  ? 5'h00 : \\$# ;", "assign \\$# = \\$# ? 5'h10 : \\$#;"]
    listed = Listed((Entry("tiny", "unit", "the fifth bit goes nowhere at all", [pair]),))
    found = [one.after for one in some if listed.reason(one)]
    assert found == ["assign \\$2  = \\$3 ? 5'h10 : \\$1 ;"]
    assert not any(replace(listed.entries[0], unit="other").holds_for(one) for one in some)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.tools.mutate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--unknown"], "unrecognized arguments: --unknown"),
        (
            ["--engine", "huge"],
            "there is no engine 'huge'; choose one of tiny, wide, single, tight, windows or random:SEED",
        ),
        (["--unit", "nowhere"], "the engine has no unit 'nowhere'"),
        (["--count", "0"], "the number of mutants must be positive, got 0"),
        (["--count", "many"], "invalid int value: 'many'"),
    ],
)
def test_bad_input_is_refused_in_words(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_no_mutant_of_a_sample_survives() -> None:
    """One build; of larger samples docs/mutants.md has the figures."""
    found = campaign.Campaign("tiny", count=24, seed=1).run()
    assert [described(one) for one in found if one.verdict == "survived"] == []
    assert campaign.counts(found)["killed"] >= 16

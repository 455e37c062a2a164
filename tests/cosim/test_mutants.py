"""The tool that plants faults in generated Verilog: what it plants, what it calls killed or equivalent, a sample."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from mutate.equivalents import Entry, Listed, all_entries
from mutate.faults import faults
from mutate.planting import planted_text, width_of
from mutate.proof import is_equal
from mutate.sampling import sample
from mutate.sites import Mutant, units
from mutate.subjects import ENGINES

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


def test_every_reason_is_of_an_engine_and_says_why() -> None:
    for entry in all_entries():
        assert entry.engine in (*ENGINES, "any")
        assert len(entry.reason.split()) > 4
        assert entry.mutants
        assert all(before != after for before, after in entry.mutants)


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
        (["--engine", "huge"], "there is no engine 'huge'; choose one of tiny, wide, single or random:SEED"),
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

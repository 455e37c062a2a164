"""Which simulators there are."""

import shutil

import pytest

NEEDS_ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None,
    reason="Icarus Verilog, the second simulator, is not installed: apt-get install iverilog",
)
#: What is simulated once is cheaper to build with Icarus, where it is installed; all else is tested with Verilator.
FASTEST_BUILD = "icarus" if shutil.which("iverilog") else "verilator"

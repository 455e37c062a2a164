"""Programs that run beside each other: none outlives what it was started for."""

import signal
import sys
import time
from pathlib import Path

import pytest

from bivit.hw.synthesis.side_by_side import side_by_side
from bivit.hw.synthesis.tools import Tool, ToolFailed, ToolTimeout
from bivit.sim.system.children import run_program


def test_a_tool_gives_what_it_wrote_or_says_why_not(tmp_path: Path) -> None:
    tool = Tool("shell", ("sh", "-c"), "1.0")
    assert tool.run(["echo out; echo err >&2; pwd"], tmp_path, 10).split() == ["out", str(tmp_path), "err"]
    with pytest.raises(ToolFailed, match=r"shell failed: ERROR: no$") as failed:
        tool.run(["echo Info; echo 'ERROR: no' >&2; exit 1"], tmp_path, 10)
    assert failed.value.written == "Info\nERROR: no\n"
    with pytest.raises(ToolTimeout, match=r"shell did not finish in 0\.2 s") as late:
        tool.run(["echo so far >&2; exec sleep 60"], tmp_path, 0.2)
    assert late.value.written == "so far\n"


def test_programs_end_with_what_they_were_started_for(tmp_path: Path) -> None:
    """One task fails while another's program sleeps: it is ended, and nobody waits for it."""
    begun = tmp_path / "begun"
    sleep = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(60)"

    def fail() -> None:
        while not begun.exists():
            time.sleep(0.01)
        raise ZeroDivisionError

    ended: list[int] = []
    sleeper = [sys.executable, "-c", sleep]
    tasks = {"sleeper": lambda: ended.append(run_program(sleeper).returncode), "failing": fail}
    with pytest.raises(ZeroDivisionError):
        side_by_side(tasks, 2, lambda name, result: None)
    assert ended == [-signal.SIGKILL]

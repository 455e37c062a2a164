"""What is said of work that takes long: at its beginning, every so often, with the time left; nothing of quick work."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from bivit.cli.shared import progress
from bivit.cli.shared.progress import Command, Step, duration, step


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return what was written so far; a tenth of a second stands for a while, and two for a long one."""
    file = io.StringIO()
    monkeypatch.setattr(progress, "messages", Console(file=file, width=40))
    monkeypatch.setattr(progress, "_FIRST", 0.1)
    monkeypatch.setattr(progress, "_FIRST_OF_COMMAND", 0.3)
    monkeypatch.setattr(progress, "_EVERY", 0.2)
    return lambda: file.getvalue().splitlines()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_quick_work_says_nothing(lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_FIRST", 60.0)
    with step("quick"):
        pass
    assert lines() == []


def test_long_work_speaks_before_its_end_and_again(lines: Callable[[], list[str]]) -> None:
    with step("convert [all] of an engine that has a very long name indeed") as say:
        wait_for(lambda: len(lines()) >= 2)
        say("second part")
        wait_for(lambda: any("second part" in line for line in lines()))
    assert lines()[0] == "bivit: convert [all] of an engine that has a very long name indeed"
    assert re.fullmatch(r"done convert \[all\] of an engine that has a very long name indeed \d+\.\d s", lines()[-1])


def test_the_time_left_is_said_once_some_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    one = Step("train", 1000)
    now = 110.0
    one.at(500, note="loss 0.5")  # a run that goes on from its middle
    assert one.text() == "train, 500 of 1,000, loss 0.5, 10 s"
    now = 120.0
    one.at(600)
    assert one.text() == "train, 600 of 1,000, 20 s, about 40 s left"
    one.at(1000)
    assert one.text() == "train, 1,000 of 1,000, 20 s"


def test_of_nested_steps_the_inner_one_goes_on_speaking(lines: Callable[[], list[str]]) -> None:
    with step("outer"):
        wait_for(lambda: lines() != [])
        with step("inner"):
            wait_for(lambda: sum("inner" in line for line in lines()) >= 3)
        said = lines()
    first = next(index for index, line in enumerate(said) if "inner" in line)
    assert all("outer" in line for line in said[:first])
    assert not any("outer" in line for line in said[first:-1])


def test_an_error_ends_the_step_without_done(lines: Callable[[], list[str]]) -> None:
    def break_off() -> None:
        with step("broken"):
            wait_for(lambda: lines() != [])
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        break_off()
    assert not any("done" in line for line in lines())
    assert progress._open == []


@pytest.mark.parametrize("busy", [True, False])
def test_a_command_speaks_where_its_steps_do_not(
    lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    def work() -> None:
        if busy:
            with step("a step"):
                wait_for(lambda: len(lines()) >= 4)
        else:
            wait_for(lambda: lines() != [])

    Command("cosim", callback=work).main([], prog_name="cosim", standalone_mode=False)
    assert any("cosim is at work" in line for line in lines()) == (not busy)


def test_only_the_first_of_several_processes_speaks(
    lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with step("train"):
        time.sleep(0.3)
    assert lines() == []


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "messages", Console(file=file, force_terminal=True, width=100))
    with step("outer", 2) as outer, step("inner"):
        outer.at(1)
        wait_for(lambda: "inner" in file.getvalue() and "1 of 2" in file.getvalue())
    assert "done" in file.getvalue()
    assert progress._bars is None
    assert progress._open == []


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 99, 100, 3600, 7200)] == [
        "0 s",
        "99 s",
        "1 min 40 s",
        "60 min 0 s",
        "2.0 h",
    ]

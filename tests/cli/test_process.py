"""The program among others: streams that are full, closed or of another encoding, signals, the working folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from program import COMMAND

from bivit.cli.shared.common import print_json
from bivit.sim.system.children import run_program

#: A command that writes a file, in the group and the process of all others, and that waits when it is told to.
WRITER = """
import sys, time, typer
from pathlib import Path
from bivit.cli.shared import common, process
from bivit.sim.system.files import scratch_folder, whole_file
from bivit.sim.system.locks import owned_folder

app = typer.Typer(cls=common.Group, pretty_exceptions_enable=False)

@app.callback()
def root(): pass

@app.command(cls=common.Command)
def write(out: Path, number: float = 0):
    with owned_folder(out.parent), scratch_folder("bivit-test"), whole_file(out) as partial:
        partial.write_text("half")
        print("begun", flush=True)
        sys.stdin.read()

process.prepare()
app()
"""


def writer(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, "write", *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **{**pipes, **options})  # type: ignore[call-overload,no-any-return]


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which $BIVIT is the program."""
    variables = os.environ | {"BIVIT": " ".join(COMMAND)} | environment
    return subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", ["ops digits", "ops digits --json", "--help"])
def test_a_full_standard_output_is_one_message(arguments: str) -> None:
    done = shell(f"$BIVIT {arguments} > /dev/full")
    assert done.returncode == 2
    assert done.stderr == "bivit: cannot write standard output: No space left on device\n"


def test_a_reader_that_goes_ends_the_program_quietly() -> None:
    done = shell("$BIVIT ops digits | head -n 1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    assert done.stdout.startswith("digits:")


@pytest.mark.parametrize("closed", ["2>/dev/full", "<&- >&- 2>&-"])
def test_messages_and_closed_streams_stop_nothing(closed: str) -> None:
    assert shell(f"$BIVIT ops digits {closed}").returncode == 0
    assert shell(f"$BIVIT ops nothing {closed}").returncode == 2


@pytest.mark.parametrize(
    ("encoding", "command"),
    [("ascii", "doctor"), ("ascii", "ops deit_tiny"), ("latin-1", "ops deit_tiny"), ("utf-8", "ops --help")],
)
def test_any_encoding_shows_the_text(encoding: str, command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"$BIVIT {command} | cat"],
        env=os.environ | {"BIVIT": " ".join(COMMAND), "PYTHONIOENCODING": encoding, "COLUMNS": "80"},
        capture_output=True,
        check=True,
    )
    text = done.stdout.decode(encoding)
    assert done.stderr == b""
    assert "bivit" in text or "deit_tiny" in text
    assert encoding == "utf-8" or "?" not in text.replace("[OPTIONS]", "")


def test_tables_in_pipes_are_whole(tmp_path: Path) -> None:
    done = shell("$BIVIT doctor", COLUMNS="40", TERM="xterm")
    assert "…" not in done.stdout
    assert next(line for line in done.stdout.splitlines() if "scikit" in line).rstrip().endswith("data")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    process = writer(
        tmp_path / "out" / "a.txt",
        env=os.environ | {"TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup would pass on that it is ignored
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert len(list(tmp_path.rglob("*.partial"))) == 2
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert errors == f"bivit: {what}; files written before are complete, the one in work was dropped\n"
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    process = writer(tmp_path / "a.txt", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "a.txt").read_text() == "half"


def test_what_a_killed_command_left_goes_at_its_next_use(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = writer(tmp_path / "out" / "a.txt", env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert len(list(tmp_path.rglob("*.partial"))) == 2
    again = writer(tmp_path / "out" / "a.txt", env=environment)
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a.txt"]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400", "9" * 4000])
def test_numbers_are_finite(number: str, tmp_path: Path) -> None:
    process = writer(tmp_path / "a.txt", "--number", number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith("bivit: --number must be a finite number, got ")
    assert len(errors) < 200


def test_json_holds_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), (float("inf"), 1.5)]})
    assert capsys.readouterr().out.split() == ["{", '"a":', "[", "null,", "[", "null,", "1.5", "]", "]", "}"]


def test_messages_hold_no_codes_for_terminals(tmp_path: Path) -> None:
    engine = tmp_path / "engine.json"
    engine.write_text('{"\\u001b[31m' + "x" * 9000 + '": 1}')
    done = shell(f"$BIVIT generate --engine {engine} --out {tmp_path / 'out'}")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 5000
    assert not (tmp_path / "out").exists()


def test_children_do_not_import_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("random", "types", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of the working folder')")
    monkeypatch.chdir(tmp_path)
    for arguments in (["-c", "import random, types, numpy, json"], ["-m", "json.tool", "--help"]):
        assert run_program([sys.executable, *arguments]).returncode == 0
    # The test can fail: as children run by default, they do.
    assert subprocess.run([sys.executable, "-c", "import numpy"], capture_output=True, check=False).returncode == 1

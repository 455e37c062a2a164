"""The examples and the README's Python run as they stand, and the results table lives between its markers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT

#: Each compares what it computes and fails when it differs.
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
#: The others take no arguments; all of a bench takes minutes.
_BENCHES = ("bench.py", "bench_cycles.py", "bench_generation.py", "bench_training.py")
ARGUMENTS = {name: ["--quick"] for name in _BENCHES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name), *ARGUMENTS.get(name, [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def python_blocks(markdown: str) -> list[str]:
    """Fenced Python blocks of a Markdown text."""
    return re.findall(r"^```python\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_readme_example_runs(tmp_path: Path) -> None:
    (block,) = python_blocks((ROOT / "README.md").read_text())
    lines = [line for line in block.splitlines() if line]
    assert len(lines) <= 12
    assert lines[-1] == "assert np.array_equal(rtl, reference)"
    script = tmp_path / "readme.py"
    script.write_text(block)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr


def test_readme_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
        local = [link for link in links if "://" not in link]
        assert [link for link in local if not (page.parent / link).exists()] == []

"""A browser without a window, where the machine has one: what a page holds after its script has run."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

#: Programs that are tried, in this order.
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
#: Notes errors of the page's own script, before it runs.
_NOTES = "<script>const errors = []; addEventListener('error', (event) => errors.push(event.message));</script>"
_ANSWER = "<script>{{ {script}\n const box = document.createElement('pre'); box.id = 'answer';"
_ANSWER += " box.textContent = JSON.stringify({{ errors, answer: answer() }}); document.body.append(box); }}</script>"


def browser() -> str:
    """The browser's path; skips a test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(NAMES)} is on the PATH")
    return found


def asked(page: str, script: str, folder: Path) -> Any:
    """What `answer()`, a function of a script that runs behind the page's own, returns; the page must have no errors.

    Parameters
    ----------
    page, script : str
    folder : Path
        For the page, and for what the browser keeps.
    """
    path = folder / "asked.html"
    page = page.replace("<head>", f"<head>{_NOTES}", 1).replace("</body>", _ANSWER.format(script=script) + "</body>", 1)
    path.write_text(page, encoding="utf-8")
    command = [browser(), *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900", "--dump-dom"]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, "the script behind the page's own did not run to its end"
    values = json.loads(html.unescape(found[1]))
    assert values["errors"] == [], values["errors"]
    return values["answer"]

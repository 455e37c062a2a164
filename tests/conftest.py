"""Settings for every test: hypothesis tries the same examples on every run, and no slow machine fails a deadline."""

import signal
import sys
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import settings

settings.register_profile("bivit", deadline=None, derandomize=True, database=None)
settings.load_profile("bivit")

# Children inherit that a signal is ignored, as it is in the background of a shell: those of tests are interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: What timm imports of torchvision.
STAND_INS = (
    "torchvision",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.models.feature_extraction",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that are known to take long do so; every other has the time of pyproject.toml."""
    for item in items:
        if item.get_closest_marker("whole") or item.get_closest_marker("long_proof"):
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def timm() -> Any:
    """timm, which asks for torchvision, that its models do not use for what is tested here.

    The Makefile installs timm without it, and a stand-in answers the imports.
    """
    before = {name: sys.modules[name] for name in STAND_INS if name in sys.modules}
    sys.modules.update({name: MagicMock() for name in STAND_INS})
    try:
        import timm
    finally:
        for name in STAND_INS:
            del sys.modules[name]
        sys.modules.update(before)
    return timm

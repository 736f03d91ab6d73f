"""What the tests share."""

import signal
from pathlib import Path

import pytest

from intaglio.package import Package

# A suite that is started in the background of a script inherits that Ctrl-C is ignored, and so would every process
# that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """The package of the tiny frozen model that the golden files were made with."""
    return Path(__file__).parent / "golden" / "tiny.itgm"


@pytest.fixture(scope="session")
def tiny(tiny_model: Path) -> Package:
    """That package, read once."""
    return Package.read(tiny_model)

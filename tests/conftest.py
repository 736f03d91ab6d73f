"""What the tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """The package of the tiny frozen model that the golden files were made with."""
    return Path(__file__).parent / "golden" / "tiny.itgm"

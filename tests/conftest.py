"""What the tests share."""

from pathlib import Path

import pytest

from intaglio.package import Package


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """The package of the tiny frozen model that the golden files were made with."""
    return Path(__file__).parent / "golden" / "tiny.itgm"


@pytest.fixture(scope="session")
def tiny(tiny_model: Path) -> Package:
    """That package, read once."""
    return Package.read(tiny_model)

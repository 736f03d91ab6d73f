"""Pillow's own failures and its own limit, put in our words while we call it."""

import contextlib
import threading
from collections.abc import Iterator

from PIL import Image

from .container import MAX_PIXELS
from .errors import BadInput, IntaglioError, IntaglioWarning, TooLarge


@contextlib.contextmanager
def foreseen(what: str, max_pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Turn whatever Pillow and its plugins raise on damaged files (nearly anything) into one sentence."""
    try:
        yield
    except (IntaglioError, IntaglioWarning, BrokenPipeError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{what}: it holds more than max_pixels={max_pixels} pixels") from error
    except MemoryError as error:
        raise TooLarge(f"{what}: there is not enough memory for its pixels") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{what}: {reason}") from error


@contextlib.contextmanager
def memory_told() -> Iterator[None]:
    """Turn a MemoryError, from wherever it comes, into TooLarge."""
    try:
        yield
    except MemoryError:
        raise TooLarge("there is not enough memory for this picture; free some, or work on parts of it") from None


_limits: list[int] = []
_limits_lock = threading.Lock()
_pillow_before: int | None = None


@contextlib.contextmanager
def pillow_limit(max_pixels: int) -> Iterator[None]:
    """Lift Pillow's global limit, which warns and refuses below ours, while any thread of ours reads."""
    global _pillow_before
    with _limits_lock:
        if not _limits:
            _pillow_before = Image.MAX_IMAGE_PIXELS
        _limits.append(max_pixels)
        _set_limit()
    try:
        yield
    finally:
        with _limits_lock:
            _limits.remove(max_pixels)
            _set_limit()


def _set_limit() -> None:
    Image.MAX_IMAGE_PIXELS = None if _pillow_before is None else max(_pillow_before, *_limits, 0)

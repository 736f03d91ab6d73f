"""intaglio: a GAN image codec. A photograph becomes a few hundred bytes per 64x64 block; a generator prints it back."""

from .codec import decode, encode, info
from .errors import BadInput, CorruptFile, IntaglioError, IntaglioWarning, TooLarge, UnsupportedFile, WrongModel

__version__ = "0.1.0"
__all__ = [
    "BadInput", "CorruptFile", "IntaglioError", "IntaglioWarning", "TooLarge", "UnsupportedFile", "WrongModel",
    "decode", "encode", "info",
]

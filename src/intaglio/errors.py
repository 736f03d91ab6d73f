"""What can go wrong, by name. Every message is one sentence that says what, where and what to do."""

AGAIN = "the file is damaged, so get a fresh copy"  # how sentences about damaged bytes end


class IntaglioError(Exception):
    """Any failure that intaglio foresees; the command line prints its sentence and exits non-zero."""


class BadInput(IntaglioError):
    """An argument or a picture that cannot be used as given."""


class CorruptFile(IntaglioError):
    """A `.itg` file whose bytes are damaged, cut short or hostile."""


class UnsupportedFile(IntaglioError):
    """A sound `.itg` file that this version cannot read (a newer format)."""


class WrongModel(IntaglioError):
    """The model at hand is not the one that made the file, or is no sound model package."""


class TooLarge(IntaglioError):
    """More pixels or bytes than the stated limit."""


class IntaglioWarning(UserWarning):
    """Something was converted, dropped or repaired; the result stands."""

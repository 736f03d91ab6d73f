"""The ends of a module's own command (`python -m intaglio...`): a sentence and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from .errors import IntaglioError

FAILED, INTERRUPTED, PIPE = 1, 130, 141  # as the `intaglio` command has them


def ended(main: Callable[[], object]) -> NoReturn:
    """Run `main` and exit the process: 0, 1 after a failure, 130 after Ctrl-C, 141 where nobody reads our output."""
    code, said = 0, ""
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        code = PIPE
    except KeyboardInterrupt:
        code, said = INTERRUPTED, "interrupted"
    except IntaglioError as error:
        code, said = FAILED, str(error)
    except OSError as error:
        code, said = FAILED, f"{error.filename or 'standard output'}: {error.strerror or error}"
    if code:  # what is left to print has nowhere to go, and Python would complain of it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if said:
        print(f"error: {said}", file=sys.stderr)
    sys.exit(code)

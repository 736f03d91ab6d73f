"""`python -m intaglio` is the `intaglio` command."""

from .cli import main

if __name__ == "__main__":
    main()

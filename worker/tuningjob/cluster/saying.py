"""Messages beside results: on stderr, a line at a time."""

import sys


def say(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()

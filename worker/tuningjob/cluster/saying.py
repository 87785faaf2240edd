"""What is told beside results: on stderr, a line at a time."""

import sys


def say(text: str) -> None:
    """One line."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()

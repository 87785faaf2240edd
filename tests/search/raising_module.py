"""A module whose names are made when they are asked for, and some of them badly."""

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    match name:
        case "Runtime":
            raise RuntimeError("no")
        case "Exits":
            sys.exit(7)
        case "Imports":
            raise ImportError("it needs a library")
        case "Recurses":
            return __getattr__(name)
        case _:
            raise AttributeError(name)

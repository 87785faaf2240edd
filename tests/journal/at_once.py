"""Processes that open one journal at once."""

import multiprocessing
from multiprocessing.context import ForkServerContext


def processes() -> ForkServerContext:
    """Each begins as a fork of one that has imported the journal and has no threads: all are there within milliseconds.

    One that imports it for itself takes a second of a CPU first, and four of them hardly ever meet.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.journal.test_at_once", "tests.journal.test_migrations"])
    return context

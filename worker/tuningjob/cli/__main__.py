"""``python -m tuningjob.cli``."""

from tuningjob.cli import main

main()

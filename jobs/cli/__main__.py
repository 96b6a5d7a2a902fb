"""`python -m jobs.cli` is `isofleet`."""

from jobs.cli import main

main()

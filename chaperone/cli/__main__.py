"""`python -m chaperone.cli`, for where no script is installed."""

from chaperone.cli.app import main

main()

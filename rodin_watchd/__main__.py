"""`python -m rodin_watchd` is the command line."""

from rodin_watchd.cli.main import main

main()

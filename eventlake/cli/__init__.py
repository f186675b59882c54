"""The command line parses arguments, calls one verb of the library and prints the result.

Data goes to stdout; progress and messages go to stderr.

Exit codes: 0 done, 1 refused or differs, 2 usage, 3 environment; 130, 143 and 129 stopped by
SIGINT, SIGTERM or SIGHUP.
"""

from eventlake.cli.application import main

__all__ = ["main"]

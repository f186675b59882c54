"""The command line: parses, calls one verb of the library, prints. Data to stdout, progress and messages to stderr.

Exit codes: 0 done, 1 refused or differs, 2 usage, 3 environment; 130, 143 and 129 stopped by
SIGINT, SIGTERM or SIGHUP.
"""

from eventlake.cli.main import main

__all__ = ["main"]

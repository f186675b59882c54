"""A worker process: reads a task a line, does it, answers a line. Ends when nobody asks any more."""

import json
import sys

from eventlake.datasets.buckets import Task, do
from eventlake.errors import EventlakeError


def main() -> None:
    """Until the end of standard input."""
    for line in sys.stdin:
        answer: dict[str, object] = {}
        try:
            do(Task.of(line))
        except EventlakeError as error:
            answer = {"error": error.kind, "message": error.message, "hint": error.hint}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

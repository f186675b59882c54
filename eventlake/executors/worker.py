"""A worker process: reads one task a line, runs it, and answers with one line of JSON."""

import json
import os
import sys

from eventlake.datasets.building.buckets import Task, do
from eventlake.errors import EventlakeError
from eventlake.memory import bound_memory


def main() -> None:
    """Run tasks until standard input ends."""
    # Prints of libraries must not mix with the answers: they go to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # A query that takes all memory must end this process, not the machine.
    bound_memory()
    for line in sys.stdin:
        answer: dict[str, object] = {}
        try:
            do(Task.of(line))
        except EventlakeError as error:
            answer = {"error": error.kind, "message": error.message, "hint": error.hint}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

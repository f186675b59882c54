"""Sends the prints of user code to standard error, for standard output belongs to the command."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_lock = threading.Lock()
_inside: list[int] = []
"""The thread of each open block."""
_outside: TextIO | None = None
"""``sys.stdout`` before the first block."""


def _after_fork() -> None:
    """Forget the blocks of other threads: a child has only the thread that forked."""
    global _lock  # noqa: PLW0603 - in a child, no thread may be left to release it
    _lock = threading.Lock()
    _inside[:] = [thread for thread in _inside if thread == threading.get_ident()]
    _restore()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Replace ``sys.stdout`` by ``sys.stderr`` until no thread is in such a block."""
    global _outside
    with _lock:
        # ``sys.stdout`` belongs to the process: the first block replaces it and the last one
        # restores it, whichever threads they are in.
        if not _inside:
            _outside, sys.stdout = sys.stdout, sys.stderr
        _inside.append(threading.get_ident())
    try:
        yield
    finally:
        with _lock:
            _inside.remove(threading.get_ident())
            _restore()


def _restore() -> None:
    global _outside
    if not _inside and _outside is not None:
        sys.stdout, _outside = _outside, None

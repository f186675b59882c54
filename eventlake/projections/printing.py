"""What a user's code prints goes to stderr: stdout belongs to whoever builds."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_lock = threading.Lock()
_inside: list[int] = []
"""The threads in such a block, one entry a block."""
_outside: TextIO | None = None
"""What ``sys.stdout`` was before the first of them."""


def _after_fork() -> None:
    """Of all threads, only the one that forked goes on in a child."""
    global _lock  # noqa: PLW0603 - a thread that was not forked may hold it
    _lock = threading.Lock()
    _inside[:] = [thread for thread in _inside if thread == threading.get_ident()]
    _restore()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """``sys.stdout`` is ``sys.stderr`` in the block, and what it was again once no thread is in such a block."""
    global _outside
    with _lock:
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

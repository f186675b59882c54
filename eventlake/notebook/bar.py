"""A progress bar in a notebook cell, for work that takes more than half a second."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from eventlake.progress import Advance, always_shown_by

_PATIENCE_SECONDS = 0.5


class Bar:
    """Draws each task as one line that disappears when the task is done."""

    def __init__(self, display: Any, html: Any) -> None:
        self._display = display
        self._html = html

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Advance]:
        """See ``Reporter.task``."""
        started, done = time.monotonic(), 0
        shown: list[Any] = []

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            if time.monotonic() - started < _PATIENCE_SECONDS:
                return
            bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
            line = self._html(f"{escape(what)} {bar} {done:,} / {total:,}")
            # The first line appears only after the pause, so that short work draws nothing.
            if shown:
                shown[0].update(line)
            else:
                shown.append(self._display(line, display_id=True))

        try:
            yield advance
        finally:
            for handle in shown:
                handle.update(self._html(""))


def install() -> None:
    """Show progress in the running notebook; does nothing elsewhere."""
    if "IPython" not in sys.modules:
        return  # a running notebook has imported it; elsewhere importing it only takes time
    from IPython import get_ipython  # noqa: PLC0415 - only a notebook has it
    from IPython.display import HTML, display  # noqa: PLC0415

    shell = get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        always_shown_by(Bar(display, HTML))

"""Checks that a Python projection is exact: the plan of its frame against the allow-list."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import polars as pl

from eventlake.errors import InvalidProjectionError
from eventlake.exactness.on_duckdb.json_text import Read
from eventlake.exactness.on_polars.functions import REVIEWED
from eventlake.exactness.on_polars.nodes import Leaf
from eventlake.exactness.on_polars.plan import analyse
from eventlake.exactness.refusals import Refusal, check_version, refuse
from eventlake.exactness.rows import Keys
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.on_duckdb.json_numbers import inexact_numbers
from eventlake.projections.on_polars import trial
from eventlake.projections.on_polars.plan import read

VERSION = pl.__version__
Handed = tuple[pl.LazyFrame, Keys, tuple[str, ...]]
"""A frame that a projection may read, its unique keys, and its columns with event JSON."""
_HINT = (
    'write what is suggested; or declare level="fixed" (the same rows under the recorded settings '
    'alone) or "unproven".'
)
_RUNNING = ("collect", "sink", "profile", "fetch")
# They belong to the module, not to a frame.
_ALL = (pl._plr.collect_all, pl._plr.collect_all_with_callback)
"""Functions that run several frames."""


def check_exact(
    name: str,
    frame: pl.LazyFrame,
    leaves: Sequence[Handed],
    history: PinnedHistory,
    version: str = VERSION,
) -> None:
    """Check that a frame gives bit-identical rows under any threads, row order and layout.

    Args:
        name: The projection's name.
        frame: The frame that its function returned.
        leaves: The frames that it may read.
        history: The history of these frames.
        version: The version of Polars that will run it.

    Raises:
        InvalidProjectionError: It may not. The message lists every reason: the method, why, an
            example, and what to write instead.
        polars.exceptions.PolarsError: The frame cannot be bound.
    """
    check_version(name, "Polars", version, REVIEWED, _HINT)
    refusals, reads = _refusals(frame, leaves)
    refuse(
        name, [refusal.text(None) for refusal in refusals or inexact_numbers(history, reads)], _HINT
    )


def _refusals(frame: pl.LazyFrame, leaves: Sequence[Handed]) -> tuple[list[Refusal], set[Read]]:
    try:
        return analyse(
            read(frame),
            [Leaf(read(leaf), keys, payloads) for leaf, keys, payloads in leaves],
            trial,
        )
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        pl.exceptions.PanicException,
    ) as error:
        return [Refusal("the plan", f"it has something that is not understood: {error!r}")], set()


class Watch:
    """Refuses to run frames within the block: a value taken out of a frame is in no plan.

    A profile function watches the thread's calls into Polars, wherever they are written.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._on = False
        self._error: InvalidProjectionError | None = None

    def __enter__(self) -> None:
        self._before, self._on = sys.getprofile(), True
        sys.setprofile(self._see)

    def __exit__(self, *_: object) -> None:
        self._on = False
        sys.setprofile(self._before)
        if self._error is not None:
            # Raised even if the function caught the error.
            raise self._error

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Allow the snapshot's own reads within the block."""
        if not self._on:
            yield
            return
        sys.setprofile(self._before)
        try:
            yield
        finally:
            sys.setprofile(self._see)

    def _see(self, _: FrameType, event: str, called: Any) -> None:
        if event != "c_call":
            return
        name = str(getattr(called, "__name__", ""))
        owner = getattr(called, "__self__", None)
        runs = (
            isinstance(owner, pl._plr.PyLazyFrame)
            and name.startswith(_RUNNING)
            # It reads types and no rows.
            and name != "collect_schema"
        )
        if runs or any(called is one for one in _ALL):
            message = (
                "a projection that is declared exact may not collect: "
                "what is taken out of a frame is in no plan, and is not checked"
            )
            self._error = InvalidProjectionError(
                message,
                f'leave out {name}(), join the lazy frame instead; or declare level="fixed".',
            )
            raise self._error

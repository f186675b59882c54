"""Suggest a lake near a path that has none."""

import os
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from eventlake.core import layout

_MAX_ENTRIES = 1_000


def lake_nearby(uri: str) -> str | None:
    """Suggest a lake above, below or beside a folder that has none; None if there is none near."""
    path = Path(uri)
    if not path.is_absolute():
        return None
    try:
        above = next((one for one in path.parents if _is_lake(one)), None)
        if above is not None:
            return f"the lake is its folder {above}"
        below = [one for one in _folders(path) if _is_lake(one)]
        if below:
            more = f", and in {len(below) - 1} more of its folders" if len(below) > 1 else ""
            return f"there is a lake in {below[0]}{more}"
        beside = {one.name: one for one in _folders(path.parent) if _is_lake(one)}
        near = get_close_matches(path.name, beside, 1)
        return f"did you mean {beside[near[0]]}?" if near else None
    except OSError:
        return None


def _is_lake(folder: Path) -> bool:
    return (folder / layout.LAKE).is_file()


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        # A home folder or a mount may have very many entries, and this is only advice.
        return sorted(Path(entry.path) for entry in islice(entries, _MAX_ENTRIES) if entry.is_dir())

"""The user's cache folder: deletable at any time, private to the user."""

import os
import stat
import sys
from pathlib import Path

VARIABLE = "EVENTLAKE_CACHE"


def cache_folder() -> Path | None:
    """The folder, made if it is missing; None if it cannot be made, or if anybody else could write to it."""
    try:
        folder = _named()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError):
        return None
    private = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if private and os.access(folder, os.W_OK | os.X_OK) else None


def _named() -> Path:
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "eventlake"
    # The XDG specification tells to ignore a relative path.
    above = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (above if above.is_absolute() else Path.home() / ".cache") / "eventlake"

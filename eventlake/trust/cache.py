"""The user's cache folder. It is private to the user and may be deleted at any time."""

import os
import stat
import sys
from pathlib import Path

VARIABLE = "EVENTLAKE_CACHE"


def cache_folder() -> Path | None:
    """The folder, created if needed; None if that fails or other users can write to it."""
    try:
        folder = _configured()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError):
        return None
    # Whoever can write here could forge statements, and with them trust.
    private = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if private and os.access(folder, os.W_OK | os.X_OK) else None


def _configured() -> Path:
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "eventlake"
    # The XDG specification says that a relative path is ignored.
    above = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (above if above.is_absolute() else Path.home() / ".cache") / "eventlake"

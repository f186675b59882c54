"""The machine and the versions that build here."""

import platform
from functools import cache
from importlib.metadata import version
from typing import Any

from eventlake.projections.on_polars.run import pool_size


def environment() -> dict[str, Any]:
    """The machine and the versions that build here."""
    packages = ("duckdb", "eventlake", "numpy", "pandera", "polars", "pyarrow")
    return {
        "environment": {
            "machine": platform.machine(),
            "polars_threads": pool_size(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "versions": {name: _version(name) for name in packages},
    }


@cache
def _version(package: str) -> str:
    """The installed one, looked up once: it takes milliseconds."""
    return version(package)

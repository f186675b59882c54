"""The machine and the package versions that run a build."""

import platform
from importlib.metadata import version
from typing import Any

from eventlake.caches import CACHES
from eventlake.projections.on_polars.run import pool_size


def environment() -> dict[str, Any]:
    """The machine and the package versions of this process, as provenance members."""
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


# Each look-up takes milliseconds.
@CACHES.memo(16)
def _version(package: str) -> str:
    return version(package)

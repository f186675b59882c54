"""The machine's memory, and a limit for a process that the kernel enforces.

The engines' own limits are not enough: DuckDB does not count long strings, which a query can make
of short ones.
"""

import os
import re
from functools import cache
from pathlib import Path

from eventlake.errors import InvalidInputError, StorageError

VARIABLE = "EVENTLAKE_MEMORY"
MORE = (
    f"{VARIABLE} allows more, such as {VARIABLE}=32GB; "
    "an untrusted dataset may use much on purpose."
)
"""The hint of every out-of-memory error."""
_MIN_BYTES = 4 << 30
"""The libraries reserve about two gigabytes of address space that the kernel counts."""
_BATCH_BYTES, _BATCHES = 64 << 20, 64
"""Larger batches are no faster; a process may hold some twenty of them."""
_LEAST_ENGINE_BYTES = 64 << 20
"""With less, DuckDB cannot run a query of a few operators."""
_PART = 4
"""Batches in a part."""
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@cache
def machine_bytes() -> int:
    """Bytes of memory of the machine, or of the container if its limit is lower."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    # Version 2 and version 1 of control groups.
    for file in _CGROUP_LIMITS:
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def limit_bytes() -> int:
    """Maximum private memory in bytes of a process that eventlake owns.

    This is ``EVENTLAKE_MEMORY``, or else the machine's memory but at least 4 GiB.

    Raises:
        InvalidInputError: The variable is not a number of MB, GB or TB.
    """
    return bytes_named(VARIABLE) or max(machine_bytes(), _MIN_BYTES)


def batch_bytes() -> int:
    """Size in bytes of the rows that a step decodes, converts or writes at once.

    Several steps hold a batch or more each, and engines beside them have limits of their own.

    Raises:
        InvalidInputError: See ``limit_bytes``.
    """
    return min(_BATCH_BYTES, max(limit_bytes() // _BATCHES, 1))


def part_bytes() -> int:
    """Size in bytes of the rows that become one segment or one file of an event table.

    Raises:
        InvalidInputError: See ``limit_bytes``.
    """
    return _PART * batch_bytes()


def engine_bytes() -> int | None:
    """Memory in bytes that a database may take before it spills; None for its own default.

    This is half of ``EVENTLAKE_MEMORY``: what an engine is given and what it returns need the rest.

    Raises:
        InvalidInputError: See ``limit_bytes``.
    """
    given = bytes_named(VARIABLE)
    return None if given is None else max(given // 2, _LEAST_ENGINE_BYTES)


def bytes_named(variable: str, least: int = 1) -> int | None:
    """The bytes that an environment variable asks for; None if it is empty or not set.

    Args:
        variable: The name of the variable, whose value is a number of MB, GB or TB.
        least: The smallest number that it may be.

    Raises:
        InvalidInputError: The value is not a size, or too small.
    """
    text = os.environ.get(variable)
    if not text:
        return None
    match = re.fullmatch(r"([0-9]{1,6})(MB|GB|TB)", text)
    if match is None or int(match[1]) < least:
        message = f"expected a size such as '8GB' or '500MB' in {variable}, found {text!r}"
        raise InvalidInputError(message)
    return int(match[1]) * _UNITS[match[2]]


def bound_memory() -> None:
    """Limit the private memory of this process and its children to ``limit_bytes``.

    A lower limit is kept. Only Linux counts all private memory (``RLIMIT_DATA``, see getrlimit(2));
    on other systems nothing happens.

    Raises:
        InvalidInputError: See ``limit_bytes``.
    """
    most = limit_bytes()
    if not _is_linux():
        return
    import resource  # noqa: PLC0415 - Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [most, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))


def can_bound_more() -> bool:
    """Whether a new process that calls ``bound_memory`` would have a lower limit than this one.

    Raises:
        InvalidInputError: See ``limit_bytes``.
    """
    if not _is_linux():
        return False
    import resource  # noqa: PLC0415 - Windows has none

    most, (soft, _) = limit_bytes(), resource.getrlimit(resource.RLIMIT_DATA)
    return soft == resource.RLIM_INFINITY or soft > most


def out_of_memory(what: str) -> StorageError:
    """The error for work that needs more than ``limit_bytes``."""
    message = f"{what} needs more memory than the {limit_bytes():,} bytes that it may take"
    return StorageError(message, MORE)


def _is_linux() -> bool:
    return Path("/proc/self").exists()

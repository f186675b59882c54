"""How much memory the machine has, and a limit on what a process may use, enforced by the kernel.

The limits of the engines are not enough: DuckDB does not count long text, which a query can make of
short text.
"""

import os
import re
from pathlib import Path

from eventlake.errors import InvalidInputError, StorageError

VARIABLE = "EVENTLAKE_MEMORY"
MORE = f"{VARIABLE} allows more, such as {VARIABLE}=32GB; a stranger's dataset may need much on purpose."
"""The hint of an error for want of memory."""
_LEAST_BYTES = 4 << 30
"""The libraries reserve about two gigabytes that they never use, and the kernel counts them."""
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_bytes() -> int:
    """Bytes of memory that the machine has, or that a container may take of it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _CONTAINER:
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def limit_bytes() -> int:
    """Bytes that a process of eventlake's own may take: ``EVENTLAKE_MEMORY``, else what the machine has, and 4 GiB at least.

    Raises:
        InvalidInputError: The variable says something else than a number of MB, GB or TB.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return max(machine_bytes(), _LEAST_BYTES)
    match = re.fullmatch(r"([0-9]{1,6})(MB|GB|TB)", text)
    if match is None or not int(match[1]):
        message = f"expected a size such as '8GB' or '500MB' in {VARIABLE}, found {text!r}"
        raise InvalidInputError(message)
    return int(match[1]) * _UNITS[match[2]]


def bound_memory() -> None:
    """Limits the private memory of this process, and of those that it starts, to ``limit_bytes``.

    A lower limit stays. Only Linux counts all private memory (``RLIMIT_DATA``, see getrlimit(2));
    elsewhere nothing happens.

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
    """Whether another process, which calls ``bound_memory``, could take less memory than this one.

    Raises:
        InvalidInputError: See ``limit_bytes``.
    """
    if not _is_linux():
        return False
    import resource  # noqa: PLC0415 - Windows has none

    most, (soft, _) = limit_bytes(), resource.getrlimit(resource.RLIMIT_DATA)
    return soft == resource.RLIM_INFINITY or soft > most


def out_of_memory(what: str) -> StorageError:
    """The error of work that needs more than ``limit_bytes``."""
    message = f"{what} needs more memory than the {limit_bytes():,} bytes that it may take"
    return StorageError(message, MORE)


def _is_linux() -> bool:
    return Path("/proc/self").exists()

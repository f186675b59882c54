"""Format numbers: documents of a newer eventlake are refused, never misread."""

from collections.abc import Mapping
from typing import Any

from eventlake.errors import CorruptionError, UnsupportedFormatError


def check_format(document: Mapping[str, Any], where: str, supported: int) -> None:
    """Check a document's ``format``.

    Raises:
        UnsupportedFormatError: The format is above ``supported``, or a draft.
        CorruptionError: There is no format number.
    """
    found = document.get("format")
    # ``isinstance`` would accept ``true``.
    if type(found) is not int or found < 0:
        message = f"{where}: expected a format number, found {found!r}"
        raise CorruptionError(message, "is this a file of eventlake?", path=where)
    if not found:
        message = f"{where} has format 0, which was a draft and is no longer read"
        raise UnsupportedFormatError(
            message,
            "append the events to a new lake, with the version that wrote this one.",
            path=where,
            found=found,
        )
    if found > supported:
        message = f"{where} has format {found}, this version reads up to {supported}"
        raise UnsupportedFormatError(
            message, "pip install --upgrade eventlake", path=where, found=found, supported=supported
        )

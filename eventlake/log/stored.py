"""Reading a segment's bytes so that nobody works on others than were written."""

from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.core.commit import Segment
from eventlake.errors import CorruptionError
from eventlake.storage import ObjectMissingError, Storage


def checked_bytes(storage: Storage, segment: Segment) -> bytes:
    """A segment's bytes.

    Raises:
        CorruptionError: The file is gone, or its bytes are not those that were written.
    """
    path = layout.segment_path(segment.sha256)
    where = f"segment {segment.start:,}-{segment.stop:,}"
    try:
        data = storage.read(path)
    except ObjectMissingError as error:
        message = f"{where} is missing ({path})"
        raise CorruptionError(message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path) from error
    found = sha256_hex(data)
    if found != segment.sha256:
        message = f"{where} does not match its commit: expected sha256 {segment.sha256}, read {found} ({path})"
        hint = "run 'eventlake verify LAKE' and restore the file from a backup; never edit files under segments/."
        raise CorruptionError(message, hint, path=path, expected=segment.sha256, found=found)
    return data

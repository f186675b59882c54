"""Create a lake, or open one at its newest commit."""

from eventlake.core import layout
from eventlake.core.documents.commit import FORMAT
from eventlake.core.documents.lake import read_lake
from eventlake.core.hashing.canonical import seal
from eventlake.core.hashing.checkpoint import check_origin
from eventlake.errors import AlreadyExistsError, NotFoundError
from eventlake.log.chain import hint
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.limits import LOG_LIMITS, LogLimits
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage, lake_nearby, probe
from eventlake.trust import Trust, trust_of


def create_chain(
    storage: Storage,
    origin: str,
    created: int,
    *,
    strict: bool = False,
    trust: Trust | None = None,
    limits: LogLimits = LOG_LIMITS,
) -> Chain:
    """Create an empty lake.

    Raises:
        AlreadyExistsError: A lake is there, or the folder holds other files; nothing was changed.
        InvalidInputError: ``origin`` is not a valid name.
    """
    check_origin(origin)
    storage.check()
    # Listing stops at the first other file, so a large folder is not read to its end.
    other_file = next(
        (
            item.path
            for item in storage.list("")
            if item.path != layout.LAKE and not layout.is_temporary(item.path)
        ),
        None,
    )
    if other_file is not None and not _has_lake(storage):
        message = f"{storage.uri} is not empty: it holds {other_file}"
        raise AlreadyExistsError(message, "give an empty or new folder.", uri=storage.uri)
    # Fail now, not at the first append, if the store cannot create objects atomically.
    probe(storage)
    try:
        storage.create(
            layout.LAKE,
            seal({"created": created, "format": FORMAT, "origin": origin, "strict": strict}),
        )
    except ObjectExistsError:
        message = f"there is a lake in {storage.uri} already"
        raise AlreadyExistsError(
            message, "open it with el.open(…); lakes are never overwritten.", uri=storage.uri
        ) from None
    return Chain(storage, origin, created, strict=strict, trust=trust or trust_of(), limits=limits)


def _has_lake(storage: Storage) -> bool:
    try:
        storage.read(layout.LAKE)
    except ObjectMissingError:
        return False
    return True


def open_chain(
    storage: Storage, trust: Trust | None = None, limits: LogLimits = LOG_LIMITS
) -> Chain:
    """Open an existing lake at its newest commit; writes nothing.

    Args:
        storage: Where it is.
        trust: The trust in its writers; defaults to the environment's.
        limits: Sizes and times by which the caller writes.

    Raises:
        NotFoundError: There is no lake.
        UnsupportedFormatError: A newer eventlake wrote it.
        CorruptionError: ``lake.json`` or the newest commit is damaged or missing.
    """
    try:
        data = storage.read(layout.LAKE)
    except ObjectMissingError:
        nearby = lake_nearby(storage.uri)
        message = f"there is no lake in {storage.uri} (no {layout.LAKE})"
        advice = nearby or "make one with 'eventlake init' or el.create(…), or check the path"
        raise NotFoundError(message, f"{advice}.".replace("?.", "?"), uri=storage.uri) from None
    lake = read_lake(data, layout.LAKE)
    chain = Chain(
        storage,
        lake.origin,
        lake.created,
        strict=lake.strict,
        trust=trust or trust_of(),
        limits=limits,
    )
    # Only the head is read: it names its tiers and carries the frontier.
    chain.skip_to(hint.newest_version(storage, lake.origin))
    return chain


def reopen(chain: Chain) -> Chain:
    """Open the lake of ``chain`` again, at its newest commit."""
    return open_chain(chain.storage, chain.trust, chain.limits)

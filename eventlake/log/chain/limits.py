"""Sizes and times by which a process writes the log."""

from dataclasses import dataclass

from eventlake.columns.intake.batch_limits import BATCH_LIMITS, BatchLimits


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Sizes and times by which a process writes the log and looks up keys.

    None is part of the format: processes with other limits read and continue the same log.

    Attributes:
        batch: How batches are cut into segments.
        fold_weight: Unfolded keys of this weight are folded into a tier; see
            ``unfolded_keys.weight``. Every commit until then carries them, so half as much makes
            small commits smaller, and folds twice as frequent.
        tier_ratio: Each size class of tiers is this many times as large as the one below.
        quick_weight: A writer that lives on merges tiers of more weight in the background.
        inline_keys: Maximum number of keys that a commit carries; more are stored in a file of
            their own.
        lookup_bytes: Approximate bytes read to look up one key in part of a key file.
        kept_key_bytes: A key file of more bytes on a local disk is read again at each lookup of
            many keys, instead of being kept in memory.
        key_file_bytes: Tiers are not merged into a key file of more bytes than this, which bounds
            the memory and the time that a fold takes.
        segment_tries: How often a segment is sent before the store's failure is raised.
        patience_seconds: How long the store is asked after the unknown outcome of a commit before
            an error is raised.
        first_pause_seconds: Longest pause after a first failure; doubled after each further one.
    """

    batch: BatchLimits = BATCH_LIMITS
    fold_weight: int = 640
    tier_ratio: int = 48
    quick_weight: int = 65_536
    inline_keys: int = 512
    lookup_bytes: int = 250
    kept_key_bytes: int = 32 << 20
    key_file_bytes: int = 128 << 20
    segment_tries: int = 4
    patience_seconds: float = 10.0
    first_pause_seconds: float = 0.05


LOG_LIMITS = LogLimits()

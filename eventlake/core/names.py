"""Check names: patterns, reserved names, invalid text and repetitions."""

from collections import Counter
from collections.abc import Callable, Sequence

DATASET_NAME = "[a-z][a-z0-9_]{0,99}"
"""The pattern of names of projections and feature sets, which are those of their datasets."""
FEATURE_NAME = "[A-Za-z_][A-Za-z0-9_]{0,199}"
"""The pattern of names of features."""
HASH_PREFIX = "[0-9a-f]{6,64}"
"""The pattern of a hash in hex, or of enough of its first digits."""
OURS = "eventlake "
"""Prefix of internal tables and columns that exist beside a user's."""
AS_RECORDED, LATEST, LIFETIMES = "as_recorded", "latest", "lifetimes"
"""All events; events that are not superseded; the lifetimes of corrected events."""


def is_pattern(name: str) -> bool:
    """Whether Polars interprets a column name as a regular expression or wildcard."""
    # Polars expands such a name to many columns wherever it takes an expression.
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def is_ours(name: str) -> bool:
    """Whether a name is reserved for internal tables and columns."""
    # SQL ignores the case of names.
    return name.casefold().startswith(OURS)


def is_text(text: str) -> bool:
    """Whether UTF-8 can encode a text, which then has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def repeated(names: Sequence[str], plain: Callable[[str], str] = str) -> list[str]:
    """The distinct names whose ``plain`` form occurs more than once, sorted."""
    # Counted in one pass: a stranger's schema may have a hundred thousand names.
    forms = [plain(name) for name in names]
    counts = Counter(forms)
    return sorted({name for name, form in zip(names, forms, strict=True) if counts[form] > 1})

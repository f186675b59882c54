"""Names that mean something else than themselves, and names that stand more than once."""

from collections import Counter
from collections.abc import Callable, Sequence

OURS = "eventlake "
"""What the names of tables and columns begin with that are put beside a user's."""


def is_pattern(name: str) -> bool:
    """Whether Polars takes the name of a column for a pattern of names."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def is_ours(name: str) -> bool:
    """Whether a name is kept for tables and columns of ours."""
    return name.casefold().startswith(OURS)


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold a text: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def repeated(names: Sequence[str], plain: Callable[[str], str] = str) -> list[str]:
    """The names that share their ``plain`` form with another one, sorted, each once."""
    forms = [plain(name) for name in names]
    counts = Counter(forms)
    return sorted({name for name, form in zip(names, forms, strict=True) if counts[form] > 1})

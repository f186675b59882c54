"""Prove most payloads of a batch valid with one regular expression, which is faster than parsing.

Most payloads of a batch have a few shapes. A *template* merges the shapes of a sample that an exact
parser has read. For each place it has the objects seen there, by their keys in order; an array of
all items seen in one; and a strict pattern for scalars. Merging place by place keeps a template as
large as the number of places rather than of combinations.

A row that matches is strict JSON. Each object has the keys of one that was seen, without
repetition. It is no deeper than the sample, because no pattern contains itself. Numbers are well
within the range of a double, and surrogates are only escaped in pairs. A row that matches no
template is not wrong; it is left to the exact parser.

This stays hand-written: no library validates a whole column of JSON text without parsing it.
docs/decisions/0006-payload-scan.md has measurements against a parser called for every row.
"""

import json
import re
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from eventlake.caches import CACHES
from eventlake.core.attributes import MAX_PAYLOAD_DEPTH

_SAMPLE_ROWS = 128
_ROUNDS = 3
_FEWEST_ROWS = 4_000
"""Below this a regular expression costs more to build than it saves."""
_TRIED_ROWS = 1_000
_FEWEST_PROVEN = 0.05
_MOST_SECONDS = (1e-6, 20e-9)
"""Seconds of the exact parser per row and per byte; a slower expression is abandoned."""
_MAX_PATTERN = 60_000
_MAX_OBJECTS = 64
"""Maximum distinct key sets in one place; a map from ids to values has any number of them."""

_MOST_RECENT = 4
_PATTERNS = "patterns"
_recent = CACHES.bounded_map(1)
"""The expressions of the last batches, which the next one of a producer matches too."""

_HEX = "[0-9A-Fa-f]"
_ESCAPED = (
    rf"|\\u(?:[0-9A-CE-Fa-ce-f]{_HEX}{{3}}|[Dd][0-7]{_HEX}{{2}}"
    rf"|[Dd][89ABab]{_HEX}{{2}}\\u[Dd][C-Fc-f]{_HEX}{{2}})"
)
_SCALAR = (
    r'(?:"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]%s)*"'
    # At most 19 digits and an exponent of two digits: no such number is beyond a double.
    r"|-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?"
    r"|true|false|null)"
)
# Writers put no blank after these, or, as Python's ``json.dumps``, one.
_COMMA, _COLON = ", ?", ": ?"
# A key with an escape has many spellings, of which the pattern would know two.
_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*')


class _NoTemplateError(Exception):
    """A shape is too rare, too large or not safe for a regular expression."""


def proven(payloads: pl.Series) -> npt.NDArray[np.bool_]:
    """True for each row that matches a template; False for others and for nulls."""
    result = np.zeros(len(payloads), bool)
    if len(payloads) < _FEWEST_ROWS:
        return result
    rest = pl.DataFrame({"row": np.arange(len(payloads)), "text": payloads}).filter(
        pl.col("text").is_not_null()
    )
    for _ in range(_ROUNDS):
        if rest.height < _FEWEST_ROWS:
            break
        # A random sample, because a producer may alternate its shapes regularly.
        tried = rest["text"].sample(_TRIED_ROWS, seed=0)
        pattern = _known(tried) or _new(tried)
        if pattern is None:
            break
        matches = rest["text"].str.contains(pattern)
        if matches.all() and rest.height == len(result):
            result[:] = True
            break
        result[rest["row"].filter(matches).to_numpy()] = True
        rest = rest.filter(~matches)
    return result


def _known(tried: pl.Series) -> str | None:
    """A recent expression that all of some payloads match; None if there is none."""
    # What matches is a payload, whichever sample the expression was made of.
    for pattern in _recent.get(_PATTERNS) or ():
        if tried.str.contains(pattern).all():
            return str(pattern)
    return None


def _new(tried: pl.Series) -> str | None:
    """An expression for the shapes of some payloads; None if it would not pay."""
    pattern = _pattern(tried.head(_SAMPLE_ROWS).to_list())
    if pattern is None or not _is_worthwhile(pattern, tried):
        return None
    known = dict.fromkeys((pattern, *(_recent.get(_PATTERNS) or ())))
    _recent.put(_PATTERNS, tuple(known)[:_MOST_RECENT])
    return pattern


def _is_worthwhile(pattern: str, tried: pl.Series) -> bool:
    """Whether the expression compiles, matches some rows, and is faster than the exact parser."""
    try:
        # Compiles the expression, so that compiling is not measured. Polars keeps it for the next
        # call.
        tried.head(1).str.contains(pattern)
        # CPU time: on a busy machine the clock on the wall would give up every expression.
        begun = time.thread_time()
        matches = tried.str.contains(pattern)
    except pl.exceptions.ComputeError:
        return False
    taken = time.thread_time() - begun
    a_row, a_byte = _MOST_SECONDS
    return int(matches.sum()) > _FEWEST_PROVEN * len(tried) and taken < a_row * len(
        tried
    ) + a_byte * int(tried.str.len_bytes().sum())


def _pattern(sample: list[str]) -> str | None:
    """One expression for the shapes of the sample; None if there are none, or too many."""
    # Support for escapes costs a fifth more time even if there are none.
    scalar = _SCALAR % (_ESCAPED if any(r"\u" in text for text in sample) else "")
    values = []
    for text in sample:
        try:
            values.append(_checked(json.loads(text, object_pairs_hook=_Pairs)))
        except (ValueError, _NoTemplateError, RecursionError):
            continue
    try:
        return f"^{_template(values, scalar)}$" if values else None
    except _NoTemplateError:
        return None


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object in order, including repeated keys."""


def _checked(value: Any, depth: int = 0) -> Any:
    """Return ``value`` if its depth and keys are suitable for a template."""
    if isinstance(value, list):
        if depth >= MAX_PAYLOAD_DEPTH:
            raise _NoTemplateError
        if isinstance(value, _Pairs):
            keys = [key for key, _ in value]
            # A repeated key would be part of the pattern, and accepted in every row.
            if len(set(keys)) < len(keys) or not all(_PLAIN_KEY.fullmatch(key) for key in keys):
                raise _NoTemplateError
        for item in value:
            _checked(item[1] if isinstance(value, _Pairs) else item, depth + 1)
    return value


def _template(values: list[Any], scalar: str) -> str:
    """A pattern for the values seen in one place; all arrays of a place share their items."""
    objects: dict[tuple[str, ...], list[_Pairs]] = {}
    # All items of all arrays in this place share one pattern: a pattern for each length would
    # multiply.
    arrays: list[list[Any]] = []
    patterns: dict[str, None] = {}
    for value in values:
        if isinstance(value, _Pairs):
            objects.setdefault(tuple(key for key, _ in value), []).append(value)
        elif isinstance(value, list):
            arrays.append(value)
        else:
            patterns[scalar] = None
    if len(objects) > _MAX_OBJECTS:
        raise _NoTemplateError
    patterns |= {_object(keys, alike, scalar): None for keys, alike in sorted(objects.items())}
    if arrays:
        # An empty array says nothing about its items, so any scalar is assumed.
        item = _template([item for array in arrays for item in array] or [None], scalar)
        patterns[rf"\[(?:{item}(?:{_COMMA}{item})*)?\]"] = None
    pattern = "|".join(patterns) if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"
    if len(pattern) > _MAX_PATTERN:
        # Checked at every place: an array's pattern contains its items twice, so nested arrays
        # double its length at each level.
        raise _NoTemplateError
    return pattern


def _object(keys: tuple[str, ...], alike: list[_Pairs], scalar: str) -> str:
    members = (
        f'"{_literal(key)}"{_COLON}{_template([value[at][1] for value in alike], scalar)}'
        for at, key in enumerate(keys)
    )
    return r"\{" + _COMMA.join(members) + r"\}"


def _literal(key: str) -> str:
    """A pattern for the two spellings of a key: as it is, and with non-ASCII escaped."""
    # Python's ``json.dumps`` escapes what is not ASCII, other writers do not.
    plain, escaped = re.escape(key), re.escape(json.dumps(key)[1:-1])
    return plain if plain == escaped else f"(?:{plain}|{escaped})"

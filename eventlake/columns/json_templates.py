"""A fast first look at payloads: most of a batch has a few shapes, and one regular expression can prove a row to be one of them.

A *template* is a payload's shape, read from a sample row by an exact parser: its keys in their order at every level, with a strict pattern
where a scalar stands. A row that matches is strict JSON with those keys, each once, no deeper than the sample, with numbers far inside a
double's range and no escape that could hide a surrogate. What matches no template is not wrong; it is left to the exact parser.
"""

import json
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from eventlake.core.attributes import MAX_PAYLOAD_DEPTH

_SAMPLE_ROWS = 64
_ROUNDS = 3
_FEWEST_ROWS = 2_000
"""Below this a regular expression costs more to build than it saves."""
_MAX_TEMPLATES = 32
_MAX_PATTERN = 20_000

_SCALAR = (
    r'(?:"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"'
    r"|-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?"
    r"|true|false|null)"
)
_COMMA, _COLON = ", ?", ": ?"
_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f]*')


class _NoTemplateError(Exception):
    """This shape is not worth, or not safe in, a regular expression."""


def proven(payloads: pl.Series) -> npt.NDArray[np.bool_]:
    """For each row whether a template proves it; False where none does, and for nulls."""
    result = np.zeros(len(payloads), bool)
    if len(payloads) < _FEWEST_ROWS:
        return result
    rest = pl.DataFrame({"row": np.arange(len(payloads)), "text": payloads}).filter(pl.col("text").is_not_null())
    for _ in range(_ROUNDS):
        if rest.height < _FEWEST_ROWS:
            break
        pattern = _pattern(rest["text"].gather_every(max(rest.height // _SAMPLE_ROWS, 1)).to_list())
        if pattern is None:
            break
        matches = rest.select(pl.col("text").str.contains(pattern))["text"]
        result[rest["row"].filter(matches).to_numpy()] = True
        rest = rest.filter(~matches)
    return result


def _pattern(sample: list[str]) -> str | None:
    """One expression for the shapes in the sample, or None where there are none to be had, or too many."""
    templates = set()
    for text in sample:
        try:
            templates.add(_template(json.loads(text, object_pairs_hook=_Pairs), 0))
        except (ValueError, _NoTemplateError, RecursionError):
            continue
    pattern = f"^(?:{'|'.join(sorted(templates))})$"
    return pattern if 0 < len(templates) <= _MAX_TEMPLATES and len(pattern) <= _MAX_PATTERN else None


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object in their order, doubles and all."""


def _template(value: Any, depth: int) -> str:
    if isinstance(value, _Pairs):
        keys = [key for key, _ in value]
        if len(set(keys)) < len(keys) or depth > MAX_PAYLOAD_DEPTH:
            raise _NoTemplateError
        members = (f'"{_literal(key)}"{_COLON}{_template(item, depth + 1)}' for key, item in value)
        return r"\{" + _COMMA.join(members) + r"\}"
    if isinstance(value, list):
        # Arrays of arrays or objects make the automaton explode; those rows go to the exact parser.
        if any(isinstance(item, list) for item in value):
            raise _NoTemplateError
        return rf"\[(?:{_SCALAR}(?:{_COMMA}{_SCALAR})*)?\]"
    return _SCALAR


def _literal(key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        raise _NoTemplateError
    return re.escape(key)

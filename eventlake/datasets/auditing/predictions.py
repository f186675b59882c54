"""Predictions as events: each names the dataset, the row and the model that it was made with, so that it can be explained later."""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.columns.intake.given import INDEX_HINT, table_of
from eventlake.core.card import Card
from eventlake.core.documents.stored import SMALL, check_bounds
from eventlake.core.format_value import shown
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.inspecting.explain import Explanation
from eventlake.errors import CorruptionError, InvalidInputError, NotFoundError

EVENT_TYPE = "prediction.made"
SOURCE = "eventlake.predictions"
SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prediction", pa.float64(), nullable=False),
    ]
)
"""Of a prediction's payload: the dataset's manifest hash, the row's key as canonical JSON, the model's digest, and what it said."""
_PREDICTION = "prediction"
_MOST = 1_000


@dataclass(frozen=True, slots=True, repr=False)
class PredictionExplanation:
    """What a prediction was made of.

    Attributes:
        event_id: Of the prediction.
        model: The model's digest.
        prediction: What it said.
        dataset: That it was made with.
        explanation: The row, and the events behind it, as they were.
    """

    event_id: str
    model: str
    prediction: float
    dataset: Dataset
    explanation: Explanation

    @property
    def row(self) -> dict[str, Any]:
        """The features as they were."""
        return self.explanation.row

    @property
    def events(self) -> pl.DataFrame:
        """The events behind the features, as ``Explanation.events``."""
        return self.explanation.events

    def __repr__(self) -> str:
        """The card's title."""
        return f"<PredictionExplanation: {self.card().title}>"

    def card(self) -> Card:
        """What to show."""
        card = self.explanation.card()
        facts = (("model", self.model), ("dataset", self.dataset.manifest_hash), *card.facts)
        return Card(
            f"{self.event_id} said {shown(self.prediction)}: {card.title}",
            facts,
            card.header,
            card.rows,
        )


def model_digest(model: str | bytes | os.PathLike[str]) -> str:
    """What names a model: text as it is, else the SHA-256 of the bytes, or of a file's.

    Raises:
        InvalidInputError: No text, bytes or path, or an empty one.
        NotFoundError: There is no such file.
    """
    if isinstance(model, str) and model:
        return model
    if isinstance(model, bytes) and model:
        return sha256_hex(model)
    if isinstance(model, os.PathLike):
        try:
            with Path(model).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            message = f"there is no model at {os.fspath(model)}"
            raise NotFoundError(message) from error
    message = f"expected the model as its digest or name, its bytes, or the path of its file, found {model!r}"
    raise InvalidInputError(message)


def prediction_events(
    dataset: Dataset, frame: Any, model: str | bytes | os.PathLike[str]
) -> list[dict[str, Any]]:
    """The events of predictions: one a row, whose id is a hash of dataset, key and model.

    Args:
        dataset: That they were made with.
        frame: Its key columns, and ``prediction``, a number.
        model: As ``model_digest`` takes it.

    Raises:
        InvalidInputError: A column is missing, a key is not the dataset's or stands twice, a
            prediction is no finite number.
    """
    digest, key = model_digest(model), list(dataset.manifest.recipe.key)
    given = pl.DataFrame(table_of(frame, "predictions"))
    missing = [name for name in (*key, _PREDICTION) if name not in given.columns]
    if missing:
        message = f"expected predictions with the columns {', '.join((*key, _PREDICTION))}, found {', '.join(given.columns)}"
        raise InvalidInputError(message, INDEX_HINT, column=missing[0])
    rows = dataset.polars()
    try:
        keys = given.select(pl.col(name).cast(rows.schema[name]) for name in key)
        said = given[_PREDICTION].cast(pl.Float64)
        changed = [
            name
            for name in key
            if not keys[name].cast(given.schema[name]).equals(given[name], null_equal=True)
        ]
    except pl.exceptions.PolarsError as error:
        message = f"expected predictions for keys of the types that {dataset.name} has, as numbers: {error}"
        raise InvalidInputError(message) from error
    if changed:
        message = f"expected {changed[0]} as {rows.schema[changed[0]]}, found values that are none"
        raise InvalidInputError(message, column=changed[0])
    if said.null_count() or not said.is_finite().all():
        message = "expected predictions as finite numbers, found null, NaN or infinite ones"
        raise InvalidInputError(message, column=_PREDICTION)
    if keys.is_duplicated().any() or keys.join(rows, on=key, how="anti").height:
        message = f"expected each prediction for another row of {dataset.name} ({', '.join(key)}), found a key twice, or one that is not there"
        raise InvalidInputError(message)
    entity = dataset.entity()
    subjects = (
        [None] * keys.height
        if entity is None
        else keys.join(rows, on=key, how="left", maintain_order="left")[entity].to_list()
    )
    events = []
    for values, subject, value in zip(keys.rows(named=True), subjects, said, strict=True):
        told = canonical_json({name: _plain(part) for name, part in values.items()}).decode()
        data = {"dataset": dataset.manifest_hash, "key": told, "model": digest, "prediction": value}
        name = sha256_hex(canonical_json([dataset.manifest_hash, told, digest]))[:32]
        # Not every entity can be a subject.
        about = (
            {"subject": str(subject)}
            if subject is not None and str(subject).isprintable() and 0 < len(str(subject)) <= _MOST
            else {}
        )
        events.append({"id": name, "source": SOURCE, "type": EVENT_TYPE, "data": data, **about})
    return events


def _plain(value: Any) -> str | int:
    """A part of a key, as JSON has it exactly; an instant as RFC 3339."""
    if isinstance(value, (int, str)):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def key_in(event_id: str, text: str) -> Any:
    """The key of a row as a recorded prediction names it.

    Raises:
        CorruptionError: It is no key in JSON.
    """
    try:
        if problem := check_bounds(text.encode(), SMALL):
            raise ValueError(problem)  # noqa: TRY301
        return json.loads(text)
    except ValueError as error:
        message = f"prediction {event_id}: expected a key as JSON, found {text[:100]!r} ({error})"
        raise CorruptionError(
            message, "it was not recorded by record_predictions.", event_id=event_id
        ) from error

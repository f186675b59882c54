"""Records predictions as events that name dataset, row and model, and explains them later."""

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
from eventlake.core.card import Card, Shown
from eventlake.core.documents.stored import SMALL, check_bounds
from eventlake.core.format_value import shown
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.inspecting.explanation import Explanation
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
"""The payload: manifest hash, the row's key as canonical JSON, model digest, and the value."""
_PREDICTION = "prediction"
_MOST_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True, repr=False)
class PredictionExplanation(Shown):
    """A recorded prediction, with its row and the events behind it.

    Attributes:
        event_id: The ``id`` of the prediction event.
        model: The model's digest or name.
        prediction: The predicted value.
        dataset: The dataset to which the model was applied.
        explanation: The row, and the events behind it.
    """

    event_id: str
    model: str
    prediction: float
    dataset: Dataset
    explanation: Explanation

    @property
    def row(self) -> dict[str, Any]:
        """The row of the dataset, by column."""
        return self.explanation.row

    @property
    def events(self) -> pl.DataFrame:
        """The events behind the features, as ``Explanation.events``."""
        return self.explanation.events

    def __repr__(self) -> str:
        """The card's title."""
        return f"<PredictionExplanation: {self.card().title}>"

    def card(self) -> Card:
        """The explanation as a card."""
        card = self.explanation.card()
        facts = (("model", self.model), ("dataset", self.dataset.manifest_hash), *card.facts)
        return Card(
            f"{self.event_id} predicts {shown(self.prediction)}: {card.title}",
            facts,
            card.header,
            card.rows,
        )


def model_digest(model: str | bytes | os.PathLike[str]) -> str:
    """The identifier of a model: text as it is, or the SHA-256 of bytes or of a file.

    Raises:
        InvalidInputError: It is empty, or neither text, bytes nor a path.
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
    message = (
        "expected the model as its digest or name, its bytes, or the path of its file, "
        f"found {model!r}"
    )
    raise InvalidInputError(message)


def prediction_events(
    dataset: Dataset, frame: Any, model: str | bytes | os.PathLike[str]
) -> list[dict[str, Any]]:
    """One event for each prediction, whose ``id`` is a hash of dataset, key and model.

    Args:
        dataset: The dataset to which the model was applied.
        frame: The dataset's key columns, and ``prediction``, a finite number.
        model: As for ``model_digest``.

    Raises:
        InvalidInputError: A column is missing, a key is not in the dataset or occurs twice, or a
            prediction is not a finite number.
    """
    digest, key = model_digest(model), list(dataset.manifest.recipe.key)
    given = pl.DataFrame(table_of(frame, "predictions"))
    missing = [name for name in (*key, _PREDICTION) if name not in given.columns]
    if missing:
        message = (
            f"expected predictions with the columns {', '.join((*key, _PREDICTION))}, "
            f"found {', '.join(given.columns)}"
        )
        raise InvalidInputError(message, INDEX_HINT, column=missing[0])
    rows = dataset.polars()
    try:
        keys = given.select(pl.col(name).cast(rows.schema[name]) for name in key)
        predictions = given[_PREDICTION].cast(pl.Float64)
        # A cast must not round a key to that of another row.
        changed = [
            name
            for name in key
            if not keys[name].cast(given.schema[name]).equals(given[name], null_equal=True)
        ]
    except pl.exceptions.PolarsError as error:
        message = (
            f"expected predictions for keys of the types that {dataset.name} has, as numbers: "
            f"{error}"
        )
        raise InvalidInputError(message) from error
    if changed:
        message = f"expected {changed[0]} as {rows.schema[changed[0]]}, found other values"
        raise InvalidInputError(message, column=changed[0])
    if predictions.null_count() or not predictions.is_finite().all():
        message = "expected predictions as finite numbers, found null, NaN or infinite ones"
        raise InvalidInputError(message, column=_PREDICTION)
    if keys.is_duplicated().any() or keys.join(rows, on=key, how="anti").height:
        message = (
            f"expected each prediction for another row of {dataset.name} ({', '.join(key)}), "
            "found a key twice, or one that is not there"
        )
        raise InvalidInputError(message)
    entity = dataset.entity()
    subjects = (
        [None] * keys.height
        if entity is None
        else keys.join(rows, on=key, how="left", maintain_order="left")[entity].to_list()
    )
    events = []
    for values, subject, value in zip(keys.rows(named=True), subjects, predictions, strict=True):
        row_key = canonical_json({name: _plain(part) for name, part in values.items()}).decode()
        data = {
            "dataset": dataset.manifest_hash,
            "key": row_key,
            "model": digest,
            "prediction": value,
        }
        # Derived and not random: recording the same predictions again appends nothing.
        event_id = sha256_hex(canonical_json([dataset.manifest_hash, row_key, digest]))[:32]
        event = {"id": event_id, "source": SOURCE, "type": EVENT_TYPE, "data": data}
        # The key in the payload names the row in any case.
        if subject is not None and _can_be_subject(str(subject)):
            event["subject"] = str(subject)
        events.append(event)
    return events


def _can_be_subject(entity: str) -> bool:
    return entity.isprintable() and 0 < len(entity) <= _MOST_CHARACTERS


def _plain(value: Any) -> str | int:
    """A part of a key as an exact JSON value; an instant as RFC 3339."""
    if isinstance(value, (int, str)):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def key_in(event_id: str, text: str) -> Any:
    """The row's key in a recorded prediction.

    Raises:
        CorruptionError: It is not valid JSON.
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

"""Datasets for MLflow: what a run was trained on, by content hash, and the way back from a run to the very rows.

    import mlflow, eventlake.mlflow
    with mlflow.start_run():
        mlflow.log_input(eventlake.mlflow.dataset(ds), context="training")

Needs the extra ``mlflow``; nothing else of eventlake imports this.
"""

import json
from typing import Any

from eventlake.datasets.dataset import Dataset
from eventlake.errors import InvalidInputError, MissingDependencyError
from eventlake.lake import open as open_lake

try:
    from mlflow.data.dataset import Dataset as MlflowDataset
    from mlflow.data.dataset_source import DatasetSource
    from mlflow.data.dataset_source_registry import register_dataset_source
except ModuleNotFoundError as error:
    _MESSAGE = "mlflow is not installed"
    raise MissingDependencyError(_MESSAGE, "pip install 'eventlake[mlflow]'.") from error

DIGEST_DIGITS = 36
"""As many characters MLflow stores of a digest."""
_COLSPEC = {
    "int64": "long",
    "int32": "integer",
    "float64": "double",
    "float32": "float",
    "bool": "boolean",
    "binary": "binary",
}


class LakeSource(DatasetSource):
    """Where a dataset lies: a lake, and the dataset's manifest hash in it.

    Args:
        lake: Its URI.
        manifest_hash: The dataset's.
    """

    def __init__(self, lake: str, manifest_hash: str) -> None:
        self.lake = lake
        self.manifest_hash = manifest_hash

    @staticmethod
    def _get_source_type() -> str:
        return "eventlake"

    def load(self, **_: Any) -> Dataset:
        """The dataset, read where it lies.

        Raises:
            NotFoundError: The lake, or the dataset, is not there.
            CorruptionError: It is not what was written.
        """
        return open_lake(self.lake).dataset(self.manifest_hash)

    @staticmethod
    def _can_resolve(_: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "LakeSource":
        message = (
            f"an eventlake dataset is logged with eventlake.mlflow.dataset, not by {raw_source!r}"
        )
        raise NotImplementedError(message)

    def to_dict(self) -> dict[str, str]:
        """As plain values."""
        return {"lake": self.lake, "manifest_hash": self.manifest_hash}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "LakeSource":
        """The inverse of ``to_dict``."""
        return cls(source_dict["lake"], source_dict["manifest_hash"])


class LoggedDataset(MlflowDataset):
    """A dataset as MLflow stores it: its digest is the beginning of the content hash, its profile what identifies it."""

    def __init__(self, made: Dataset, name: str | None) -> None:
        self._made = made
        super().__init__(LakeSource(made.lake, made.manifest_hash), name or made.name)

    def _compute_digest(self) -> str:
        return self._made.content_hash[:DIGEST_DIGITS]

    @property
    def schema(self) -> list[dict[str, Any]]:
        """The columns by MLflow's names of types; what it has no name for (decimals, dates) is text there."""
        kinds = [
            (name, "datetime" if kind.startswith("timestamp") else _COLSPEC.get(kind, "string"))
            for name, kind in self._made.manifest.schema
        ]
        return [{"name": name, "type": kind, "required": False} for name, kind in kinds]

    @property
    def profile(self) -> dict[str, Any]:
        """The number of rows, every hash in full, and the watermark."""
        made = self._made
        return {
            "num_rows": made.manifest.rows,
            "content_hash": made.content_hash,
            "manifest_hash": made.manifest_hash,
            "recipe_hash": made.recipe_hash,
            "checkpoint": str(made.manifest.recipe.checkpoint),
        }

    def to_dict(self) -> dict[str, str]:
        """What MLflow stores."""
        told = {
            "schema": json.dumps({"mlflow_colspec": self.schema}),
            "profile": json.dumps(self.profile),
        }
        return {**super().to_dict(), **told}


def dataset(made: Any, name: str | None = None) -> LoggedDataset:
    """A dataset for ``mlflow.log_input``.

    Args:
        made: A ``Dataset``, built by a lake or found in it.
        name: In MLflow; None for its own.

    Returns:
        What ``mlflow.log_input`` takes.
        ``mlflow.data.get_source(run.inputs.dataset_inputs[0]).load()`` is the dataset again,
        wherever the lake can be opened by its URI.

    Raises:
        InvalidInputError: It is no dataset of a lake.
    """
    if not isinstance(made, Dataset):
        message = f"expected a dataset, as lake.build makes it, found {made!r}"
        raise InvalidInputError(message)
    return LoggedDataset(made, name)


register_dataset_source(LakeSource)  # type: ignore[arg-type]  # it takes the class

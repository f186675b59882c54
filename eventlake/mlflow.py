"""Datasets for MLflow: log by content hash what a run was trained on, and load it from the run.

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
"""The number of characters of a digest that MLflow stores."""
_COLSPEC = {
    "int64": "long",
    "int32": "integer",
    "float64": "double",
    "float32": "float",
    "bool": "boolean",
    "binary": "binary",
}


class LakeSource(DatasetSource):
    """The source of a dataset: its lake and its manifest hash.

    Args:
        lake: The lake's URI.
        manifest_hash: The dataset's manifest hash.
    """

    def __init__(self, lake: str, manifest_hash: str) -> None:
        self.lake = lake
        self.manifest_hash = manifest_hash

    @staticmethod
    def _get_source_type() -> str:
        return "eventlake"

    def load(self, **_: Any) -> Dataset:
        """Open the dataset in its lake.

        Raises:
            NotFoundError: There is no such lake or dataset.
            CorruptionError: The manifest is damaged.
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
        """The source as plain values."""
        return {"lake": self.lake, "manifest_hash": self.manifest_hash}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "LakeSource":
        """The inverse of ``to_dict``."""
        return cls(source_dict["lake"], source_dict["manifest_hash"])


class LoggedDataset(MlflowDataset):
    """A dataset as MLflow stores it, with the content hash as digest and all hashes as profile."""

    def __init__(self, logged: Dataset, name: str | None) -> None:
        self._dataset = logged
        super().__init__(LakeSource(logged.lake, logged.manifest_hash), name or logged.name)

    def _compute_digest(self) -> str:
        return self._dataset.content_hash[:DIGEST_DIGITS]

    @property
    def schema(self) -> list[dict[str, Any]]:
        """The columns with MLflow's type names; types that it lacks (decimals, dates) are text."""
        kinds = [
            (name, "datetime" if kind.startswith("timestamp") else _COLSPEC.get(kind, "string"))
            for name, kind in self._dataset.manifest.schema
        ]
        return [{"name": name, "type": kind, "required": False} for name, kind in kinds]

    @property
    def profile(self) -> dict[str, Any]:
        """The number of rows, the full hashes, and the checkpoint."""
        logged = self._dataset
        return {
            "num_rows": logged.manifest.rows,
            "content_hash": logged.content_hash,
            "manifest_hash": logged.manifest_hash,
            "recipe_hash": logged.recipe_hash,
            "checkpoint": str(logged.manifest.recipe.checkpoint),
        }

    def to_dict(self) -> dict[str, str]:
        """The members that MLflow stores."""
        members = {
            "schema": json.dumps({"mlflow_colspec": self.schema}),
            "profile": json.dumps(self.profile),
        }
        return {**super().to_dict(), **members}


def dataset(made: Any, name: str | None = None) -> LoggedDataset:
    """Wrap a dataset for ``mlflow.log_input``.

    Args:
        made: A ``Dataset`` of a lake.
        name: Its name in MLflow; defaults to the dataset's.

    Returns:
        The dataset for ``mlflow.log_input``. Wherever the lake's URI can be opened,
        ``mlflow.data.get_source(run.inputs.dataset_inputs[0]).load()`` loads it again.

    Raises:
        InvalidInputError: It is not a dataset of a lake.
    """
    if not isinstance(made, Dataset):
        message = f"expected a dataset from lake.build or lake.dataset, found {made!r}"
        raise InvalidInputError(message)
    return LoggedDataset(made, name)


register_dataset_source(LakeSource)  # type: ignore[arg-type]  # it takes the class

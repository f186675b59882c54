"""eventlake: immutable events in, reproducible training sets out.

Example:
    import eventlake as el

    lake = el.create("my-lake", origin="bank.example/loans")
    granted = {"id": "1", "source": "core", "type": "loan.granted", "subject": "/loan/7"}
    lake.append([granted | {"data": {"amount": "1200.00"}}])
    lake.snapshot().sql("select type, count(*) from events group by type")
"""

from importlib.metadata import version as _version

from eventlake import moved as _moved
from eventlake.core import expectation as _expectation
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.proofs import ConsistencyProof, InclusionProof
from eventlake.datasets.auditing.leakage import LeakageReport, check_leakage
from eventlake.datasets.auditing.predictions import PredictionExplanation
from eventlake.datasets.comparing.diff_report import DatasetDiff
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.definitions.dataset_toml import read_definition
from eventlake.datasets.inspecting.explanation import Explanation
from eventlake.datasets.inspecting.split import Split
from eventlake.datasets.reproduction import Reproduction
from eventlake.errors import EventlakeError
from eventlake.features.declared import functions as _declare
from eventlake.features.declared.conditions import Condition, field
from eventlake.features.declared.feature import Feature
from eventlake.features.declared.functions import (
    count,
    exists,
    rate,
    ratio,
    since_first,
    since_last,
)
from eventlake.features.declared.order_functions import delta, first, lag, last
from eventlake.features.declared.relation import relation
from eventlake.features.declared.value_functions import (
    distinct,
    max,  # noqa: A004 - el.max reads well
    mean,
    median,
    min,  # noqa: A004
    quantile,
    std,
    sum,  # noqa: A004
)
from eventlake.features.feature_set import FeatureSet
from eventlake.features.spines import spine
from eventlake.history.snapshot import Snapshot
from eventlake.history.verifying.report import Report
from eventlake.importing.import_file import Import, import_file
from eventlake.lake import Lake, create, open  # noqa: A004 - el.open reads well
from eventlake.log.appending.receipt import Receipt
from eventlake.log.maintaining.compact import Compaction
from eventlake.log.maintaining.garbage import Garbage
from eventlake.notebook import attach
from eventlake.notebook.bar import install
from eventlake.projections.projection import Projection, projection
from eventlake.public_calls import declaration as _declaration
from eventlake.schemas.infer import Proposal
from eventlake.schemas.schema import Field, FieldType, Schema
from eventlake.schemas.version import Version
from eventlake.suggestions.suggest import no_name as _no_name

_moved.install()

# The core is pure, so these functions are wrapped here to explain a wrong call.
pristine = _declaration(_expectation.pristine)
populated = _declaration(_expectation.populated)
on_event = _declaration(_expectation.on_event)
at_watermark = _declaration(_expectation.at_watermark)

__all__ = [
    "Checkpoint",
    "Compaction",
    "Condition",
    "ConsistencyProof",
    "Dataset",
    "DatasetDiff",
    "EventlakeError",
    "Explanation",
    "Feature",
    "FeatureSet",
    "Field",
    "FieldType",
    "Garbage",
    "Import",
    "InclusionProof",
    "Lake",
    "LeakageReport",
    "PredictionExplanation",
    "Projection",
    "Proposal",
    "Receipt",
    "Report",
    "Reproduction",
    "Schema",
    "Snapshot",
    "Split",
    "Version",
    "at_watermark",
    "check_leakage",
    "count",
    "create",
    "delta",
    "distinct",
    "exists",
    "field",
    "first",
    "import_file",
    "lag",
    "last",
    "max",
    "mean",
    "median",
    "min",
    "on_event",
    "open",
    "populated",
    "pristine",
    "projection",
    "quantile",
    "rate",
    "ratio",
    "read_definition",
    "relation",
    "since_first",
    "since_last",
    "spine",
    "std",
    "sum",
]

attach(
    Compaction,
    Dataset,
    DatasetDiff,
    Explanation,
    Garbage,
    Import,
    Lake,
    LeakageReport,
    PredictionExplanation,
    Proposal,
    Receipt,
    Report,
    Reproduction,
    Snapshot,
    Split,
    Version,
)
install()


def __getattr__(name: str) -> object:
    """Provide the version, and explain a name that the module does not have."""
    if name == "__version__":
        return _version("eventlake")
    advice = _declare.no_feature(name)
    raise AttributeError(
        f"module 'eventlake' has no attribute {name!r}: {advice}."
        if advice
        else _no_name("eventlake", name, __all__),
        name=name,
    )

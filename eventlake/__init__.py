"""eventlake: immutable events in, reproducible training sets out.

Example:
    import eventlake as el

    lake = el.create("my-lake", origin="bank.example/loans")
    granted = {"id": "1", "source": "core", "type": "loan.granted", "subject": "/loan/7"}
    lake.append([granted | {"data": {"amount": "1200.00"}}])
    lake.snapshot().sql("select type, count(*) from events group by type")
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

from eventlake.moved import install as _install_moved
from eventlake.notebook.bar import install as _install_bar

if TYPE_CHECKING:
    from eventlake.core.expectation import at_watermark, on_event, populated, pristine
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
    from eventlake.projections.projection import Projection, projection
    from eventlake.schemas.infer import Proposal
    from eventlake.schemas.schema import Field, FieldType, Schema
    from eventlake.schemas.version import Version

_MODULES = {
    "core.expectation": "at_watermark on_event populated pristine",
    "core.hashing.checkpoint": "Checkpoint",
    "core.hashing.proofs": "ConsistencyProof InclusionProof",
    "datasets.auditing.leakage": "LeakageReport check_leakage",
    "datasets.auditing.predictions": "PredictionExplanation",
    "datasets.comparing.diff_report": "DatasetDiff",
    "datasets.dataset": "Dataset",
    "datasets.definitions.dataset_toml": "read_definition",
    "datasets.inspecting.explanation": "Explanation",
    "datasets.inspecting.split": "Split",
    "datasets.reproduction": "Reproduction",
    "errors": "EventlakeError",
    "features.declared.conditions": "Condition field",
    "features.declared.feature": "Feature",
    "features.declared.functions": "count exists rate ratio since_first since_last",
    "features.declared.order_functions": "delta first lag last",
    "features.declared.relation": "relation",
    "features.declared.value_functions": "distinct max mean median min quantile std sum",
    "features.feature_set": "FeatureSet",
    "features.spines": "spine",
    "history.snapshot": "Snapshot",
    "history.verifying.report": "Report",
    "importing.import_file": "Import import_file",
    "lake": "Lake create open",
    "log.appending.receipt": "Receipt",
    "log.maintaining.compact": "Compaction",
    "log.maintaining.garbage": "Garbage",
    "projections.projection": "Projection projection",
    "schemas.infer": "Proposal",
    "schemas.schema": "Field FieldType Schema",
    "schemas.version": "Version",
}
"""The public names by their module, which is imported when one of them is first used."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

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

_install_moved()
_install_bar()


def __getattr__(name: str) -> object:
    """Import a public name or a module, or explain a name that does not exist."""
    if name in _MODULE_OF:
        module = _MODULE_OF[name]
        owner = importlib.import_module(f"eventlake.{module}")
        if not hasattr(owner, name):
            # A module is an attribute of its package only once it was imported.
            importlib.import_module(f"eventlake.{module}.{name}")
        value = getattr(owner, name)
        if module == "core.expectation":
            from eventlake.public_calls import declaration

            # The core is pure, so these functions are wrapped here to explain a wrong call.
            value = declaration(value)
        globals()[name] = value
        return value
    if name == "__version__":
        from importlib.metadata import version

        return version("eventlake")
    if not name.startswith("_") and importlib.util.find_spec(f"eventlake.{name}"):
        return importlib.import_module(f"eventlake.{name}")
    raise _no_name(name)


def __dir__() -> list[str]:
    """The public names, whether or not they were used yet."""
    return sorted({*globals(), *__all__})


def _no_name(name: str) -> AttributeError:
    # Python and notebooks ask for such names themselves.
    if name.startswith("_"):
        return AttributeError(f"module 'eventlake' has no attribute {name!r}", name=name)
    from eventlake.features.declared.functions import no_feature
    from eventlake.suggestions.suggest import no_name

    advice = no_feature(name)
    text = (
        f"module 'eventlake' has no attribute {name!r}: {advice}."
        if advice
        else no_name("eventlake", name, __all__)
    )
    return AttributeError(text, name=name)

"""Modules that moved, by their old names.

Only what the package ``eventlake`` exports is public, yet scripts import other modules as well. The
old names import the same modules, with a ``DeprecationWarning``, until version 0.3.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from eventlake.visible import warn

_PACKAGE = "eventlake."
MOVED = {
    "columns.content": "columns.hashing.content",
    "columns.differs": "columns.hashing.differs",
    "columns.encoding": "columns.intake.encode_batch",
    "columns.envelope": "columns.intake.envelope",
    "columns.few_rows": "columns.intake.few_rows",
    "columns.footers": "columns.parquet.footers",
    "columns.frames": "columns.parquet.frames",
    "columns.given": "columns.intake.given",
    "columns.json_scan": "columns.intake.json_scan",
    "columns.json_templates": "columns.intake.json_templates",
    "columns.key_files": "columns.keys.key_files",
    "columns.leaves": "columns.hashing.leaves",
    "columns.manifest_rows": "columns.parquet.manifest_rows",
    "columns.objects": "columns.intake.objects",
    "columns.pandas_objects": "columns.intake.pandas_objects",
    "columns.parquet_text": "columns.parquet.text_size",
    "columns.payload_text": "columns.intake.payload_text",
    "columns.problems": "columns.intake.problems",
    "columns.rules": "columns.intake.rules",
    "columns.segments": "columns.parquet.segments",
    "columns.thrift": "columns.parquet.thrift",
    "core.canonical": "core.hashing.canonical",
    "core.checkpoint": "core.hashing.checkpoint",
    "core.commit": "core.documents.commit",
    "core.dataset": "core.documents.dataset",
    "core.delivery": "core.documents.delivery",
    "core.formats": "core.documents.formats",
    "core.lake": "core.documents.lake",
    "core.leaf": "core.hashing.leaf",
    "core.manifest": "core.documents.manifest",
    "core.merkle": "core.hashing.merkle",
    "core.proofs": "core.hashing.proofs",
    "core.provenance": "core.documents.provenance",
    "core.segment": "core.documents.segment",
    "core.shown": "core.format_value",
    "core.stored": "core.documents.stored",
    "datasets.archive": "datasets.store.archive",
    "datasets.buckets": "datasets.building.buckets",
    "datasets.build": "datasets.building.build",
    "datasets.catalogue": "datasets.store.find",
    "datasets.definition": "datasets.definitions.dataset_toml",
    "datasets.diff": "datasets.comparing.diff",
    "datasets.diff_page": "datasets.comparing.diff_report",
    "datasets.explain": "datasets.inspecting.explain",
    "datasets.incremental": "datasets.building.incremental",
    "datasets.isolated": "datasets.building.isolated",
    "datasets.leakage": "datasets.auditing.leakage",
    "datasets.lock": "datasets.definitions.lock",
    "datasets.looked_up": "datasets.building.reuse_features",
    "datasets.merge": "datasets.comparing.merge_join",
    "datasets.perturb": "datasets.building.perturb",
    "datasets.predictions": "datasets.auditing.predictions",
    "datasets.recipes": "datasets.building.build_once",
    "datasets.removal": "datasets.store.removal",
    "datasets.reproduce": "datasets.building.reproduce",
    "datasets.retention": "datasets.store.retention",
    "datasets.row_diff": "datasets.comparing.row_diff",
    "datasets.spine_leaks": "datasets.auditing.spine_leaks",
    "datasets.spine_match": "datasets.comparing.spine_match",
    "datasets.split": "datasets.inspecting.split",
    "datasets.tags": "datasets.store.tags",
    "datasets.verify": "datasets.verifying.verify",
    "datasets.verify_again": "datasets.verifying.reproduce_all",
    "demo.run": "demo.run_demo",
    "elsewhere": "suggestions.suggest",
    "exactness.advice": "exactness.on_duckdb.advice",
    "exactness.aggregates": "exactness.on_duckdb.aggregates",
    "exactness.expressions": "exactness.on_duckdb.expressions",
    "exactness.functions": "exactness.on_duckdb.functions",
    "exactness.json_members": "exactness.on_duckdb.json_members",
    "exactness.json_text": "exactness.on_duckdb.json_text",
    "exactness.locality": "exactness.on_duckdb.locality",
    "exactness.plan": "exactness.on_duckdb.plan",
    "exactness.polars_advice": "exactness.on_polars.advice",
    "exactness.polars_expressions": "exactness.on_polars.expressions",
    "exactness.polars_functions": "exactness.on_polars.functions",
    "exactness.polars_json": "exactness.on_polars.json",
    "exactness.polars_nodes": "exactness.on_polars.nodes",
    "exactness.polars_plan": "exactness.on_polars.plan",
    "exactness.polars_source": "exactness.on_polars.source",
    "exactness.quotients": "exactness.on_duckdb.quotients",
    "exactness.rewrites": "exactness.on_duckdb.rewrites",
    "exactness.scope": "exactness.on_duckdb.scope",
    "exactness.texts": "exactness.on_duckdb.format_strings",
    "features.calls": "features.declared.calls",
    "features.changes": "features.stale_entities",
    "features.conditions": "features.declared.conditions",
    "features.declare": "features.declared.functions",
    "features.definition": "features.declared.feature",
    "features.duckdb_events": "features.on_duckdb.events",
    "features.duckdb_pairs": "features.on_duckdb.joins_and_trees",
    "features.duckdb_parts": "features.on_duckdb.parts",
    "features.duckdb_tables": "features.on_duckdb.database",
    "features.edges": "features.planned.edges",
    "features.extremes": "features.on_polars.running_max",
    "features.labels": "features.spines.labels",
    "features.literals": "features.planned.literals",
    "features.nested": "features.planned.nested_fields",
    "features.plan": "features.planned.plan",
    "features.polars_parts": "features.on_polars.parts",
    "features.prefixes": "features.engine_cache",
    "features.relations": "features.planned.relations",
    "features.run": "features.look_up",
    "features.shown": "features.plan_text",
    "features.sources": "features.planned.sources",
    "features.spans": "features.declared.window",
    "features.spine": "features.spines.spine",
    "features.spine_file": "features.spines.spine_file",
    "features.spine_rows": "features.spines.spine_rows",
    "features.stored": "features.declared.features_json",
    "features.trees": "features.on_polars.segment_tree",
    "features.unmatched": "features.spines.unmatched",
    "history.census": "history.verifying.seen_events",
    "history.duckdb_sql": "history.sql.duckdb_views",
    "history.report": "history.verifying.report",
    "history.sql_refusals": "history.sql.refusals",
    "history.standing": "history.corrections",
    "history.verify": "history.verifying.verify",
    "history.verify_events": "history.verifying.segments",
    "history.verify_keys": "history.verifying.keys",
    "history.verify_manifest": "history.verifying.manifest",
    "history.verify_producers": "history.verifying.producers",
    "history.verify_tables": "history.verifying.tables",
    "importing.formats": "importing.time_formats",
    "importing.run": "importing.import_file",
    "log.append": "log.appending.append",
    "log.attempts": "log.maintaining.attempts",
    "log.believed": "log.chain.check_derived",
    "log.claims": "log.chain.claims",
    "log.collect": "log.maintaining.garbage",
    "log.commits": "log.next_commit",
    "log.compact": "log.maintaining.compact",
    "log.compacted": "log.maintaining.check_compaction",
    "log.corrections": "log.appending.check_corrections",
    "log.duplicates": "log.appending.duplicates",
    "log.entry": "log.chain.entry",
    "log.expectations": "log.appending.expectations",
    "log.fold": "log.maintaining.fold",
    "log.group": "log.appending.group_commit",
    "log.hint": "log.chain.hint",
    "log.intake": "log.appending.read_events",
    "log.key_index": "log.chain.key_index",
    "log.keys_again": "log.chain.rebuild_keys",
    "log.known_ids": "log.appending.known_ids",
    "log.load": "log.appending.bulk_load",
    "log.manifest": "log.chain.manifest",
    "log.meaning": "log.appending.check_payloads",
    "log.positions": "log.appending.positions",
    "log.prepared": "log.store_batch",
    "log.publish": "log.chain.publish",
    "log.receipt": "log.appending.receipt",
    "log.recent": "log.chain.unfolded_keys",
    "log.register": "log.maintaining.register_schema",
    "log.room": "log.maintaining.reserve",
    "log.settle": "log.appending.resolve_commit",
    "log.stored": "log.chain.checked_read",
    "log.tier_rows": "log.chain.tier_rows",
    "log.writer": "log.appending.writer",
    "projections.by_entity": "projections.on_duckdb.by_entity",
    "projections.circumstances": "projections.run_conditions",
    "projections.definition": "projections.projection",
    "projections.duckdb_runner": "projections.on_duckdb.run",
    "projections.duckdb_types": "projections.on_duckdb.types",
    "projections.exact": "projections.on_duckdb.exact",
    "projections.json_numbers": "projections.on_duckdb.json_numbers",
    "projections.polars_exact": "projections.on_polars.exact",
    "projections.polars_plan": "projections.on_polars.plan",
    "projections.polars_runner": "projections.on_polars.run",
    "projections.polars_trial": "projections.on_polars.trial",
    "projections.run": "projections.kinds",
    "schemas.definition": "schemas.schema",
    "schemas.exact": "schemas.parse_row",
    "schemas.given": "schemas.coerce_schema",
    "verbs": "public_calls",
}
"""Old names and new ones, below ``eventlake``."""


class _MovedModules(MetaPathFinder, Loader):
    """Finds a module by its old name; loading it gives the module of the new name."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module by its old name; see ``importlib.abc.MetaPathFinder``."""
        del path, target
        old = fullname.removeprefix(_PACKAGE)
        return ModuleSpec(fullname, self) if fullname != old and old in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module under its new name, and warn."""
        new = _PACKAGE + MOVED[spec.name.removeprefix(_PACKAGE)]
        message = f"{spec.name} is called {new} now; version 0.3 removes the old name"
        warn(message, DeprecationWarning)
        module = importlib.import_module(new)
        # The import system overwrites ``__spec__`` of the module, which has one already.
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the spec; the module was executed under its new name."""
        spec = module.__spec__
        if spec is not None and spec.name in self._specs:
            module.__spec__ = self._specs.pop(spec.name)


def install() -> None:
    """Make the old names importable in this process."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())

"""Safe access to DuckDB: locked databases, literal file names, and queries that only read."""

from eventlake.database.connection import (
    DEFAULT,
    UNLIMITED,
    Limits,
    Resources,
    fetched,
    open_database,
)
from eventlake.database.files import openable, parquet
from eventlake.database.queries import FILE_FUNCTIONS, TABLE_FUNCTIONS, check_select, tree_of

__all__ = [
    "DEFAULT",
    "FILE_FUNCTIONS",
    "TABLE_FUNCTIONS",
    "UNLIMITED",
    "Limits",
    "Resources",
    "check_select",
    "fetched",
    "open_database",
    "openable",
    "parquet",
    "tree_of",
]

"""The one door to DuckDB: databases that are locked before they see any text, exact files, and queries that only read."""

from eventlake.database.connection import DEFAULT, Resources, open_database
from eventlake.database.files import openable, parquet
from eventlake.database.queries import check_select, tree_of

__all__ = ["DEFAULT", "Resources", "check_select", "open_database", "openable", "parquet", "tree_of"]

"""The packaged demo: a simulated lender and its overdue-loans dataset.

It uses the library as any user would.
"""

from eventlake.demo.lender import simulate
from eventlake.demo.run_demo import definition, demo_lake
from eventlake.demo.schemas import SCHEMAS

__all__ = ["SCHEMAS", "definition", "demo_lake", "simulate"]

"""What every build of the overdue-loans dataset must satisfy before anyone sees it."""

from typing import Annotated

import pandera.polars as pa
import polars as pl

Money = Annotated[pl.Decimal, 18, 2]
Rate = Annotated[pl.Decimal, 9, 4]


class OverdueLoans(pa.DataFrameModel):
    """One row per loan: what was known before the cutoff, and whether it was overdue after it."""

    loan: str = pa.Field(unique=True, str_matches=r"^/loan/\d{6}$")
    principal: Money = pa.Field(gt=0)
    term_months: int = pa.Field(isin=[6, 12, 18])
    rate: Rate = pa.Field(ge=0, lt=1)
    scheduled: Money = pa.Field(gt=0)
    payments: int = pa.Field(ge=0)
    late_payments: int = pa.Field(ge=0)
    paid: Money = pa.Field(ge=0)
    share_paid: float = pa.Field(ge=0)
    missed: int = pa.Field(ge=0)
    reminders: int = pa.Field(ge=0)
    worst_days_late: int = pa.Field(ge=0)
    days_since_last_payment: int = pa.Field(ge=1, nullable=True)
    overdue: bool

    class Config:
        """The columns are these, in this order."""

        strict = True
        ordered = True

"""What every row of the berka_loans dataset must be, checked before the dataset is published.

Money is Decimal(18, 2) in Czech crowns; day counts and ages are whole days and completed years at
the grant; every feature is over the half-open window that ends at midnight UTC of the day of the
grant. No column may be null: each loan has at least one transaction in its last 90 days, so that
even the statistics of a window exist.
"""

import datetime as dt
from decimal import Decimal
from typing import Annotated

import pandera.polars as pa
import polars as pl

Money = Annotated[pl.Decimal, 18, 2]
NOTHING = Decimal("0.00")


class BerkaLoans(pa.DataFrameModel):
    """One row per loan with a complete history; `status` and `overdue` are the label, the rest was known at the grant."""

    loan_id: pl.Int64 = pa.Field(unique=True, gt=0)
    account_id: pl.Int64 = pa.Field(unique=True, gt=0)
    granted: pl.Date = pa.Field(ge=dt.date(1993, 1, 1), le=dt.date(1998, 12, 31))
    amount: Money = pa.Field(gt=NOTHING)
    duration_months: pl.Int64 = pa.Field(isin=[12, 24, 36, 48, 60])
    payments: Money = pa.Field(gt=NOTHING)
    status: pl.String = pa.Field(isin=["A", "B", "C", "D"])
    overdue: pl.Boolean

    statement_frequency: pl.String = pa.Field(isin=["monthly", "weekly", "after_transaction"])
    owner_gender: pl.String = pa.Field(isin=["female", "male"])
    owner_age_years: pl.Int64 = pa.Field(ge=0, le=120)
    disponent_count: pl.Int64 = pa.Field(ge=0)
    district_region: pl.String
    district_average_salary: pl.Int64 = pa.Field(gt=0)

    days_since_opening: pl.Int64 = pa.Field(ge=0)
    card_issued: pl.Boolean
    transactions: pl.Int64 = pa.Field(ge=1)
    transactions_30d: pl.Int64 = pa.Field(ge=0)
    transactions_90d: pl.Int64 = pa.Field(ge=0)
    transactions_180d: pl.Int64 = pa.Field(ge=0)
    days_since_transaction: pl.Int64 = pa.Field(ge=1)
    balance_last: Money
    balance_min: Money
    balance_max: Money
    balance_mean: pl.Float64
    balance_min_90d: Money
    balance_min_180d: Money
    balance_mean_90d: pl.Float64
    credits_30d: Money = pa.Field(ge=NOTHING)
    credits_90d: Money = pa.Field(ge=NOTHING)
    withdrawals_30d: Money = pa.Field(ge=NOTHING)
    withdrawals_90d: Money = pa.Field(ge=NOTHING)
    cash_deposits: Money = pa.Field(ge=NOTHING)
    cash_withdrawals: Money = pa.Field(ge=NOTHING)
    transfers_in: Money = pa.Field(ge=NOTHING)
    transfers_out: Money = pa.Field(ge=NOTHING)
    household_payments: Money = pa.Field(ge=NOTHING)
    interest_credited: Money = pa.Field(ge=NOTHING)
    sanction_interest_count: pl.Int64 = pa.Field(ge=0)

    class Config:
        """The columns are these, in this order, in these types; nothing is coerced."""

        strict = True
        ordered = True
        coerce = False

    @pa.dataframe_check
    @classmethod
    def overdue_is_status_b_or_d(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """B is finished and unpaid, D is running and in debt."""
        return data.lazyframe.select(pl.col("overdue") == pl.col("status").is_in(["B", "D"]))

    @pa.dataframe_check
    @classmethod
    def history_is_complete(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Transactions are in the lake up to 1994-03-31, and for the loans of 1997 and 1998."""
        early = pl.col("granted") <= dt.date(1994, 3, 31)
        late = pl.col("granted") >= dt.date(1997, 1, 1)
        return data.lazyframe.select(early | late)

    @pa.dataframe_check
    @classmethod
    def longer_windows_contain_shorter_ones(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Counts grow with the window, up to the whole history."""
        return data.lazyframe.select(
            (pl.col("transactions_30d") <= pl.col("transactions_90d"))
            & (pl.col("transactions_90d") <= pl.col("transactions_180d"))
            & (pl.col("transactions_180d") <= pl.col("transactions"))
        )

    @pa.dataframe_check
    @classmethod
    def balances_lie_within_their_range(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Minimum, last and maximum are of the same history."""
        return data.lazyframe.select(
            (pl.col("balance_min") <= pl.col("balance_last"))
            & (pl.col("balance_last") <= pl.col("balance_max"))
        )

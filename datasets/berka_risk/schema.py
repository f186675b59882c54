"""What every row of the berka_risk dataset must be, checked before the dataset is published.

Only what the declaration of the features does not say already: they have the types and nulls of
their kinds. Counts are 0 where nothing happened; the time since what never was is null.
"""

import pandera.polars as pa
import polars as pl


class BerkaRisk(pa.DataFrameModel):
    """One row per loan with a complete history; ``bad`` is the label, the rest was known at the grant."""

    loan_id: pl.Int64 = pa.Field(unique=True, gt=0)
    subject: pl.String = pa.Field(unique=True, str_matches="^/account/[0-9]+$")
    bad: pl.Boolean
    duration_months: pl.Int64 = pa.Field(isin=[12, 24, 36, 48, 60])
    days_open: pl.Float64 = pa.Field(ge=1)
    transactions_ever: pl.Int64 = pa.Field(ge=1)
    days_since_transaction: pl.Float64 = pa.Field(ge=1)
    days_since_sanction: pl.Float64 = pa.Field(ge=1, nullable=True)

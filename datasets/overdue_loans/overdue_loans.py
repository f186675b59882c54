"""The overdue-loans projection in Polars: the same rows as ``overdue_loans.sql``, to the last bit.

Exact throughout: integers, decimals, dates and one division of cents by cents at the end.
"""

from typing import Protocol

import polars as pl

MONEY = pl.Decimal(18, 2)


class Snapshot(Protocol):
    """What the projection needs of a snapshot of the lake."""

    def scan(self) -> pl.LazyFrame:
        """Returns all events."""
        ...


def overdue_loans(snapshot: Snapshot, spine: pl.LazyFrame) -> pl.LazyFrame:
    """Projects what the lender knew of each loan strictly before its cutoff, by both clocks.

    Args:
        snapshot: Its events have ``id``, ``source``, ``type``, ``subject``, ``data`` (JSON text),
            ``corrects``, ``correction``, ``time`` and ``recorded_at`` (datetime[us, UTC]).
        spine: ``spine_row: i64`` (unique), ``loan: str``, ``cutoff: datetime[us, UTC]``,
            ``overdue: bool``.

    Returns:
        One row per spine row, in spine order; the columns of ``schema.py``. Days are calendar
        days in UTC. ``days_since_last_payment`` is null where nothing was ever paid.
    """
    seen = _seen(snapshot.scan(), spine)
    instalments = _instalments(seen)
    payments = _payments(seen)
    features = spine
    for part in (
        _terms(seen),
        _fallen_due(instalments, payments),
        _paid(instalments, payments),
        _chased(seen),
    ):
        features = features.join(part, on="spine_row", how="left", maintain_order="left")
    return _finish(features)


def _seen(events: pl.LazyFrame, spine: pl.LazyFrame) -> pl.LazyFrame:
    """Joins what was known before the cutoff; a correction that came later was not known."""
    corrected = (
        events.filter(pl.col("corrects").is_not_null())
        .group_by("source", pl.col("corrects").alias("id"))
        .agg(pl.col("recorded_at").min().alias("corrected_at"))
    )
    told = events.join(corrected, on=["source", "id"], how="left", maintain_order="left")
    happened = told.select(
        "type", "subject", "time", "recorded_at", "correction", "corrected_at", "data"
    )
    return (
        spine.select("spine_row", "loan", "cutoff")
        .join(happened, left_on="loan", right_on="subject", maintain_order="left_right")
        .filter(
            pl.col("time") < pl.col("cutoff"),
            pl.col("recorded_at") < pl.col("cutoff"),
            pl.col("correction").ne_missing("retract"),
            pl.col("corrected_at").is_null() | (pl.col("corrected_at") >= pl.col("cutoff")),
        )
        .select(
            "spine_row",
            pl.col("cutoff").dt.date().alias("cutoff_on"),
            "type",
            pl.col("time").dt.date().alias("happened_on"),
            "data",
        )
    )


def _terms(seen: pl.LazyFrame) -> pl.LazyFrame:
    """Reads the grant; a loan is granted once, and grouping shows that no row can become two."""
    granted = seen.filter(pl.col("type") == "loan.granted")
    return granted.group_by("spine_row", maintain_order=True).agg(
        _field("principal").cast(MONEY).max(),
        _field("term_months").cast(pl.Int64).max(),
        _field("rate").cast(pl.Decimal(9, 4)).max(),
    )


def _instalments(seen: pl.LazyFrame) -> pl.LazyFrame:
    return seen.filter(pl.col("type") == "instalment.scheduled").select(
        "spine_row",
        "cutoff_on",
        _field("instalment").cast(pl.Int64),
        _field("due").str.to_date("%Y-%m-%d").alias("due_on"),
        _field("amount").cast(MONEY),
    )


def _payments(seen: pl.LazyFrame) -> pl.LazyFrame:
    return seen.filter(pl.col("type") == "payment.received").select(
        "spine_row",
        pl.col("happened_on").alias("paid_on"),
        _field("instalment").cast(pl.Int64),
        _field("amount").cast(MONEY),
    )


def _fallen_due(instalments: pl.LazyFrame, payments: pl.LazyFrame) -> pl.LazyFrame:
    """Sums up the instalments due before the cutoff; an unpaid one is late up to the cutoff."""
    received = payments.group_by("spine_row", "instalment", maintain_order=True).agg(
        pl.col("amount").sum().alias("received")
    )
    unpaid = pl.col("received").fill_null(0) < pl.col("amount")
    days = _days(pl.col("cutoff_on") - pl.col("due_on"))
    return (
        instalments.filter(pl.col("due_on") < pl.col("cutoff_on"))
        .join(received, on=["spine_row", "instalment"], how="left", maintain_order="left")
        .group_by("spine_row", maintain_order=True)
        .agg(
            pl.col("amount").sum().cast(MONEY).alias("scheduled"),
            days.filter(unpaid).max().alias("unpaid_days_late"),
        )
    )


def _paid(instalments: pl.LazyFrame, payments: pl.LazyFrame) -> pl.LazyFrame:
    due = instalments.select("spine_row", "instalment", "due_on")
    return (
        payments.join(due, on=["spine_row", "instalment"], how="left", maintain_order="left")
        .group_by("spine_row", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("payments"),
            (pl.col("paid_on") > pl.col("due_on")).sum().cast(pl.Int64).alias("late_payments"),
            pl.col("amount").sum().cast(MONEY).alias("paid"),
            _days(pl.col("paid_on") - pl.col("due_on")).max().alias("paid_days_late"),
            pl.col("paid_on").max().alias("last_paid_on"),
        )
    )


def _chased(seen: pl.LazyFrame) -> pl.LazyFrame:
    return seen.group_by("spine_row", maintain_order=True).agg(
        (pl.col("type") == "payment.missed").sum().cast(pl.Int64).alias("missed"),
        (pl.col("type") == "reminder.sent").sum().cast(pl.Int64).alias("reminders"),
    )


def _finish(features: pl.LazyFrame) -> pl.LazyFrame:
    counts = ("payments", "late_payments", "missed", "reminders")
    lateness = ("unpaid_days_late", "paid_days_late")
    whole = features.sort("spine_row").with_columns(
        pl.col(*counts, *lateness).fill_null(0),
        # Filling with an integer widens a decimal's precision.
        pl.col("scheduled", "paid").fill_null(0).cast(MONEY),
    )
    # Null if nothing had fallen due, as in SQL; Polars would say infinite or NaN.
    owed = pl.when(pl.col("scheduled") != 0).then(_cents("scheduled"))
    days_since = _days(pl.col("cutoff").dt.date() - pl.col("last_paid_on"))
    return whole.select(
        "loan",
        "principal",
        "term_months",
        "rate",
        "scheduled",
        "payments",
        "late_payments",
        "paid",
        # The one float. Column by column: Polars divides by a literal inexactly.
        (_cents("paid").cast(pl.Float64) / owed.cast(pl.Float64)).alias("share_paid"),
        "missed",
        "reminders",
        pl.max_horizontal(*lateness, pl.lit(0, pl.Int64)).alias("worst_days_late"),
        days_since.alias("days_since_last_payment"),
        "overdue",
    )


def _field(name: str) -> pl.Expr:
    """Reads a payload field as text."""
    return pl.col("data").str.json_path_match(f"$.{name}").alias(name)


def _days(duration: pl.Expr) -> pl.Expr:
    return duration.dt.total_days()


def _cents(name: str) -> pl.Expr:
    return (pl.col(name) * 100).cast(pl.Int64)

"""What the history of an account told before the day a loan was granted, as declared features.

A window is ``[cutoff - length, cutoff)``, and without a length everything before the cutoff:
nothing of the day of the grant counts. ``recorded_at`` is ``time`` in this history
(``../berka_loans/mapping.toml`` says so), so that what had happened before a cutoff was known
before it, and what is told later, even of an earlier day, was not. Money is in Czech crowns, times
are in days.
"""

from collections.abc import Callable

import eventlake as el

POSTED = "transaction.posted"
WINDOWS = ("30d", "90d", "365d")
CREDIT = el.field("type") == "credit"
WITHDRAWAL = ~CREDIT
OVERDRAWN = el.field("balance") < 0
SANCTION = el.field("purpose") == "sanction_interest"  # what the bank takes for a negative balance
WAYS = {
    "cash_in": el.field("operation") == "cash_deposit",
    "cash_out": el.field("operation") == "cash_withdrawal",
    "card_out": el.field("operation") == "card_withdrawal",
    "transfers_in": el.field("operation") == "transfer_in",
    "transfers_out": el.field("operation") == "transfer_out",
    "household": el.field("purpose") == "household",
    "insurance": el.field("purpose") == "insurance",
    "interest": el.field("purpose") == "interest_credited",
}


def each(
    make: Callable[..., el.Feature], name: str, *of: str, where: object = None
) -> list[el.Feature]:
    """The feature over every window, and over everything before the cutoff."""
    return [
        make(POSTED, *of, window=window, where=where).name(f"{name}_{window or 'ever'}")
        for window in (*WINDOWS, None)
    ]


RISK = el.FeatureSet(
    "berka_risk",
    features=[
        el.since_first("account.opened").name("days_open"),
        el.exists("card.issued").name("has_card"),
        each(el.count, "transactions"),
        el.since_last(POSTED).name("days_since_transaction"),
        el.last(POSTED, "balance").name("balance_last"),
        each(el.min, "balance_min", "balance"),
        each(el.max, "balance_max", "balance"),
        each(el.mean, "balance_mean", "balance"),
        each(el.std, "balance_std", "balance"),
        each(el.sum, "credits", "amount", where=CREDIT),
        each(el.sum, "withdrawals", "amount", where=WITHDRAWAL),
        each(el.max, "withdrawal_max", "amount", where=WITHDRAWAL),
        [el.sum(POSTED, "amount", where=where).name(name) for name, where in WAYS.items()],
        [el.count(POSTED, where=where).name(f"{name}_count") for name, where in WAYS.items()],
        each(el.count, "sanctions", where=SANCTION),
        el.sum(POSTED, "amount", where=SANCTION).name("sanctioned"),
        el.since_last(POSTED, where=SANCTION).name("days_since_sanction"),
        each(el.count, "overdrawn", where=OVERDRAWN),
    ],
)

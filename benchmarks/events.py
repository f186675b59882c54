"""A stream of loan events such as a core bank has: ids that are UUIDs, skewed subjects, a dozen types with payloads of 70 to 170 bytes.

Ids, account numbers and amounts are random, as they are in life; what a simulated lender counts up
compresses far better, and would make writing Parquet look cheaper than it is.
"""

import numpy as np
import polars as pl
import pyarrow as pa

SEED = 20260131
LOANS_A_ROW = 0.01
START_US = 1_704_067_200_000_000
GAP_US = 2_000_000

SHARES = {
    "loan.application.submitted": (0.030, "amount channel currency purpose rate score term_months"),
    "loan.approved": (0.025, "account amount currency rate score term_months"),
    "loan.disbursed": (0.025, "account amount balance currency method"),
    "payment.scheduled": (0.200, "account amount currency due_date installment interest principal"),
    "payment.received": (
        0.250,
        "account amount currency installment interest method payment_id principal",
    ),
    "payment.failed": (0.050, "account amount currency method payment_id reason retry"),
    "payment.reversed": (0.020, "account amount currency payment_id reason"),
    "fee.assessed": (0.060, "account amount balance currency reason"),
    "interest.accrued": (0.220, "account amount balance currency rate"),
    "loan.delinquent": (0.040, "account balance bucket currency days_past_due"),
    "loan.charged_off": (0.010, "account amount balance currency days_past_due reason"),
    "borrower.contacted": (0.070, "agent channel note"),
}
"""Share of all events, and the fields of the payload."""
WORDS = {
    "bucket": ["1-29", "30-59", "60-89", "90+"],
    "channel": ["web", "mobile", "branch", "partner_api"],
    "currency": ["EUR", "USD", "GBP"],
    "method": ["ach", "card", "wire", "direct_debit"],
    "note": [
        "left voicemail",
        "customer promised to pay by friday",
        "no answer",
        "agreed on new repayment plan",
    ],
    "purpose": ["auto", "home_improvement", "debt_consolidation", "medical", "education"],
    "reason": ["insufficient_funds", "account_closed", "card_expired", "disputed", "timeout"],
    "source": ["/core/originations", "/core/servicing", "/gateway/payments", "/crm"],
}
BARE = {"retry": ["true", "false"], "rate": [f"0.{rate:04}" for rate in range(300, 2_300)]}
WHOLE = {
    "days_past_due": (1, 181),
    "installment": (1, 73),
    "score": (450, 850),
    "term_months": (12, 85),
}
MONEY = {"amount": 50.0, "balance": 100.0, "interest": 10.0, "principal": 40.0}


def loan_events(rows: int) -> pa.Table:
    """So many events in the order of their time; the same ones in every run with the same version of numpy."""
    dice = np.random.default_rng(SEED)
    shares = np.array([share for share, _ in SHARES.values()])
    frame = pl.DataFrame(
        {
            "id": _uuids(dice, rows),
            "time": pl.Series(START_US + np.sort(dice.integers(0, rows * GAP_US, rows))).cast(
                pl.Datetime("us", "UTC")
            ),
            "type": _chosen(dice, list(SHARES), rows, shares / shares.sum()),
            "subject": "/loan/"
            + pl.Series((rows * LOANS_A_ROW * dice.random(rows) ** 3).astype(np.int64)).cast(
                pl.String
            ),
            "source": _chosen(dice, WORDS["source"], rows),
            **{
                name: _field(dice, name, rows)
                for name in sorted(
                    {field for _, fields in SHARES.values() for field in fields.split()}
                )
            },
        }
    )
    data = pl.coalesce(
        pl.when(pl.col("type") == name).then(_payload(fields.split()))
        for name, (_, fields) in SHARES.items()
    )
    events = frame.select("id", "time", "type", "subject", "source", data.alias("data"))
    schema = pa.schema(
        {
            name: pa.timestamp("us", "UTC") if name == "time" else pa.string()
            for name in events.columns
        }
    )
    return events.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).combine_chunks()


def _payload(fields: list[str]) -> pl.Expr:
    parts: list[pl.Expr] = []
    for number, name in enumerate(fields):
        parts += [pl.lit(f'{"," if number else "{"}"{name}":'), pl.col(name)]
    return pl.concat_str([*parts, pl.lit("}")])


def _field(dice: np.random.Generator, name: str, rows: int) -> pl.Series:
    """A field's JSON text in every row."""
    if name in WORDS:
        return _quoted(_chosen(dice, WORDS[name], rows))
    if name in BARE:
        return _chosen(dice, BARE[name], rows)
    if name in WHOLE:
        return pl.Series(dice.integers(*WHOLE[name], rows)).cast(pl.String)
    if name in MONEY:
        cents = np.round(MONEY[name] * 100 + np.exp(9 * dice.random(rows)) * 10).astype(np.int64)
        return (
            pl.Series(cents).cast(pl.Decimal(18, 0)).cast(pl.String).str.replace(r"(\d\d)$", ".$1")
        )
    if name == "due_date":
        return _quoted(
            pl.Series(dice.integers(19_400, 20_400, rows))
            .cast(pl.Int32)
            .cast(pl.Date)
            .cast(pl.String)
        )
    numbers = pl.Series(dice.integers(0, 300 if name == "agent" else 2**40, rows)).cast(pl.String)
    return _quoted(f"{name.removesuffix('_id')[:7]}_" + numbers)


def _quoted(texts: pl.Series) -> pl.Series:
    return '"' + texts + '"'


def _chosen(
    dice: np.random.Generator, words: list[str], rows: int, shares: np.ndarray | None = None
) -> pl.Series:
    return pl.Series(words)[dice.choice(len(words), rows, p=shares)]


def _uuids(dice: np.random.Generator, rows: int) -> pl.Series:
    """Random ids in the form of a UUID."""
    digits = dice.bytes(16 * rows).hex()
    groups = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    text = pl.DataFrame({"text": [digits[at : at + 32] for at in range(0, 32 * rows, 32)]})
    return text.select(
        pl.concat_str([pl.col("text").str.slice(*group) for group in groups], separator="-")
    )["text"]

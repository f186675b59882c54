"""The datasets berka_loans, in SQL, and berka_risk, of declared features, against an oracle in plain pandas over the raw files.

The oracle shares no code with either.

Needs the raw files: EVENTLAKE_REAL_DATA names the folder that holds the .asc files, or the folder
above it. Money is compared in integer hellers (1/100 crown), taken from the digits of the file, so
that equal means equal.
"""

import datetime as dt
import importlib.util
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import eventlake as el
from tests.scope import scaled, some

DEFINITION = Path(__file__).parents[2] / "datasets" / "berka_loans"
RISK = DEFINITION.parent / "berka_risk"
_SPEC = importlib.util.spec_from_file_location("berka_load", DEFINITION / "load.py")
LOAD = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(LOAD)
EARLY = "trans_1993-01_1994-03.asc"
LATE = "trans_1995_1998_loan_accounts.csv"
TYPE_RANK = [
    "account.opened",
    "card.issued",
    "loan.granted",
    "transaction.posted",
    "loan.status_reported",
]

CREDIT = {"PRIJEM", "credit"}
OPERATIONS = {
    "cash_deposits": {"VKLAD", "credit in cash"},
    "cash_withdrawals": {"VYBER", "withdrawal in cash"},
    "transfers_in": {"PREVOD Z UCTU", "collection from another bank"},
    "transfers_out": {"PREVOD NA UCET", "remittance to another bank"},
}
PURPOSES = {
    "household_payments": {"SIPO", "household"},
    "interest_credited": {"UROK", "interest credited"},
}
SANCTION = {"SANKC. UROK", "sanction interest if negative balance"}
WAYS = {
    "cash_in": ("operation", OPERATIONS["cash_deposits"]),
    "cash_out": ("operation", OPERATIONS["cash_withdrawals"]),
    "card_out": ("operation", {"VYBER KARTOU", "credit card withdrawal"}),
    "transfers_in": ("operation", OPERATIONS["transfers_in"]),
    "transfers_out": ("operation", OPERATIONS["transfers_out"]),
    "household": ("k_symbol", PURPOSES["household_payments"]),
    "insurance": ("k_symbol", {"POJISTNE", "insurrance payment"}),
    "interest": ("k_symbol", PURPOSES["interest_credited"]),
}


@pytest.fixture(scope="session")
def raw() -> Path:
    """The folder of the raw files."""
    folder = LOAD.raw_folder()
    if folder is None:
        pytest.skip("EVENTLAKE_REAL_DATA is unset: it names the folder of the Berka .asc files")
    return folder


def make_events(folder: Path) -> pl.DataFrame:
    """Imports a folder of raw files by mapping.toml: one row per event, in the order of the lake."""
    return pl.from_arrow(LOAD.berka_events(folder)).with_columns(
        pl.col("time", "recorded_at").dt.convert_time_zone("UTC")
    )


def make_dataset(events: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Runs berka_loans.sql over events that have a sequence, through a Parquet file in the folder."""
    events.write_parquet(folder / "events.parquet")
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"CREATE VIEW events AS FROM read_parquet('{folder / 'events.parquet'}')")
        return pl.from_arrow(con.sql((DEFINITION / "berka_loans.sql").read_text()).to_arrow_table())


@pytest.fixture(scope="session")
def lake(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> el.Lake:
    """The lake of all events, imported."""
    return LOAD.berka_lake(tmp_path_factory.mktemp("berka") / "lake", raw)


@pytest.fixture(scope="session")
def events(lake: el.Lake) -> pl.DataFrame:
    """The events as the lake has them, with their sequence."""
    return lake.snapshot().scan().collect()


@pytest.fixture(scope="session")
def built(lake: el.Lake) -> el.Dataset:
    """The dataset that the committed lock pins."""
    return lake.build(el.read_definition(DEFINITION), locked=True)


@pytest.fixture(scope="session")
def dataset(built: el.Dataset) -> pl.DataFrame:
    """Its rows."""
    return built.polars()


def test_the_same_content_hash_from_another_process(lake: el.Lake, built: el.Dataset) -> None:
    script = "import sys, eventlake as el; print(el.open(sys.argv[1]).reproduce(sys.argv[2]).content_hash)"
    command = [sys.executable, "-c", script, lake.uri, built.manifest_hash]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        == built.content_hash
    )


@pytest.mark.parametrize("seed", some([1, 2], 1))
def test_the_same_history_and_dataset_from_random_batch_cuts(
    lake: el.Lake, built: el.Dataset, raw: Path, seed: int
) -> None:
    other = LOAD.cut_lake("memory://", LOAD.berka_events(raw), cuts=5 * seed, seed=seed)
    assert sum(entry.commit.kind == "append" for entry in other.log()) == 5 * seed + 1
    assert other.snapshot().checkpoint == lake.snapshot().checkpoint
    again = other.build(el.read_definition(DEFINITION))
    assert (again.content_hash, again.manifest_hash) == (built.content_hash, built.manifest_hash)


def read(folder: Path, name: str) -> pd.DataFrame:
    """Reads a raw file as text: nothing is guessed and an empty field stays empty."""
    return pd.read_csv(folder / name, sep=";", dtype=str, keep_default_na=False)


def day(text: str) -> dt.date:
    """Parses YYMMDD."""
    return dt.date(1900 + int(text[:2]), int(text[2:4]), int(text[4:6]))


def hellers(text: str) -> int:
    """Turns an amount of the files into hundredths of a crown by its digits alone."""
    crowns, point, rest = text.partition(".")
    assert not point or len(rest) == 2, text
    return int(crowns + rest) if point else int(crowns) * 100


@pytest.fixture(scope="session")
def loans(raw: Path) -> dict[int, dict[str, str]]:
    """Rows of loan.asc with a complete history, by loan_id."""
    rows = read(raw, "loan.asc").to_dict("records")
    return {
        int(row["loan_id"]): row
        for row in rows
        if row["date"] <= "940331" or row["date"] >= "970101"
    }


@pytest.fixture(scope="session")
def histories(raw: Path, loans: dict[int, dict[str, str]]) -> dict[int, list[dict[str, str]]]:
    """Transactions of each loan's account before the day of the grant, by (date, trans_id)."""
    rows = pd.concat([read(raw, EARLY), read(raw, LATE)]).drop_duplicates("trans_id")
    of_account = {
        account: group.to_dict("records") for account, group in rows.groupby("account_id")
    }
    return {
        loan_id: sorted(
            (row for row in of_account[loan["account_id"]] if day(row["date"]) < day(loan["date"])),
            key=lambda row: (day(row["date"]), int(row["trans_id"])),
        )
        for loan_id, loan in loans.items()
    }


def column(dataset: pl.DataFrame, name: str) -> dict[int, object]:
    """One column by loan_id; money in hellers."""
    values = dataset[name]
    if isinstance(values.dtype, pl.Decimal):
        values = pl.Series(
            [None if v is None else int(v * 100) for v in values.to_list()], dtype=pl.Int64
        )
    return dict(zip(dataset["loan_id"].to_list(), values.to_list(), strict=True))


def test_there_are_392_loans_with_a_complete_history(
    dataset: pl.DataFrame, loans: dict[int, dict[str, str]]
) -> None:
    assert dataset["loan_id"].to_list() == sorted(loans)
    assert dataset.height == 392
    assert dataset.filter(pl.col("granted") >= dt.date(1997, 1, 1)).height == 354
    assert dataset.filter(pl.col("granted") <= dt.date(1994, 3, 31)).height == 38


def test_35_loans_are_overdue(dataset: pl.DataFrame, loans: dict[int, dict[str, str]]) -> None:
    assert column(dataset, "status") == {loan_id: row["status"] for loan_id, row in loans.items()}
    assert column(dataset, "overdue") == {
        loan_id: row["status"] in "BD" for loan_id, row in loans.items()
    }
    assert dataset["overdue"].sum() == 35


def test_terms_are_those_of_the_file(
    dataset: pl.DataFrame, loans: dict[int, dict[str, str]]
) -> None:
    assert column(dataset, "account_id") == {k: int(row["account_id"]) for k, row in loans.items()}
    assert column(dataset, "granted") == {k: day(row["date"]) for k, row in loans.items()}
    assert column(dataset, "amount") == {k: hellers(row["amount"]) for k, row in loans.items()}
    assert column(dataset, "duration_months") == {
        k: int(row["duration"]) for k, row in loans.items()
    }
    assert column(dataset, "payments") == {k: hellers(row["payments"]) for k, row in loans.items()}


def test_count_min_and_max_equal_the_oracle(
    dataset: pl.DataFrame, histories: dict[int, list[dict[str, str]]]
) -> None:
    balances = {
        loan_id: [hellers(row["balance"]) for row in rows] for loan_id, rows in histories.items()
    }
    assert sum(map(len, balances.values())) == 31_811
    assert column(dataset, "transactions") == {k: len(v) for k, v in balances.items()}
    assert column(dataset, "balance_min") == {k: min(v) for k, v in balances.items()}
    assert column(dataset, "balance_max") == {k: max(v) for k, v in balances.items()}


def test_mean_balance_equals_the_oracle(
    dataset: pl.DataFrame, histories: dict[int, list[dict[str, str]]]
) -> None:
    balances = {
        loan_id: [hellers(row["balance"]) for row in rows] for loan_id, rows in histories.items()
    }
    means = column(dataset, "balance_mean")
    assert means == pytest.approx(
        {k: float(Decimal(sum(v)) / len(v) / 100) for k, v in balances.items()}, rel=1e-9
    )
    # The documented last step, bit for bit.
    assert means == {k: float(sum(v)) / float(len(v) * 100) for k, v in balances.items()}


def test_last_balance_is_by_date_and_trans_id(
    dataset: pl.DataFrame, histories: dict[int, list[dict[str, str]]]
) -> None:
    assert column(dataset, "balance_last") == {
        k: hellers(rows[-1]["balance"]) for k, rows in histories.items()
    }


def test_windows_and_sums_equal_the_oracle(
    dataset: pl.DataFrame,
    loans: dict[int, dict[str, str]],
    histories: dict[int, list[dict[str, str]]],
) -> None:
    expected: dict[str, dict[int, object]] = {}

    def expect(name: str, loan_id: int, value: object) -> None:
        expected.setdefault(name, {})[loan_id] = value

    for loan_id, rows in histories.items():
        granted = day(loans[loan_id]["date"])
        expect("days_since_transaction", loan_id, (granted - day(rows[-1]["date"])).days)
        expect("sanction_interest_count", loan_id, sum(row["k_symbol"] in SANCTION for row in rows))
        for days in (30, 90, 180):
            within = [row for row in rows if day(row["date"]) >= granted - dt.timedelta(days=days)]
            expect(f"transactions_{days}d", loan_id, len(within))
            credited = sum(hellers(row["amount"]) for row in within if row["type"] in CREDIT)
            withdrawn = sum(hellers(row["amount"]) for row in within if row["type"] not in CREDIT)
            balances = [hellers(row["balance"]) for row in within]
            if days < 180:
                expect(f"credits_{days}d", loan_id, credited)
                expect(f"withdrawals_{days}d", loan_id, withdrawn)
            if days > 30:
                expect(f"balance_min_{days}d", loan_id, min(balances, default=None))
            if days == 90:
                expect(
                    "balance_mean_90d", loan_id, float(sum(balances)) / float(len(balances) * 100)
                )
        for field, names in (("operation", OPERATIONS), ("k_symbol", PURPOSES)):
            for name, codes in names.items():
                expect(
                    name,
                    loan_id,
                    sum(hellers(row["amount"]) for row in rows if row[field] in codes),
                )
    assert {name: column(dataset, name) for name in expected} == expected


def test_account_owner_and_card_equal_the_oracle(
    dataset: pl.DataFrame, raw: Path, loans: dict[int, dict[str, str]]
) -> None:
    accounts = read(raw, "account.asc").set_index("account_id")
    clients = read(raw, "client.asc").set_index("client_id")
    districts = read(raw, "district.asc").set_index("A1")
    holders = read(raw, "disp.asc").groupby("account_id")
    issued = read(raw, "card.asc").set_index("disp_id")["issued"].to_dict()
    frequencies = {
        "POPLATEK MESICNE": "monthly",
        "POPLATEK TYDNE": "weekly",
        "POPLATEK PO OBRATU": "after_transaction",
    }
    names = [
        "statement_frequency", "owner_gender", "owner_age_years", "disponent_count", "district_region",
        "district_average_salary", "days_since_opening", "card_issued",
    ]  # fmt: skip
    expected = {}
    for loan_id, loan in loans.items():
        account, held, granted = (
            accounts.loc[loan["account_id"]],
            holders.get_group(loan["account_id"]),
            day(loan["date"]),
        )
        (owner,) = held.loc[held["type"] == "OWNER", "client_id"]
        number = clients.loc[owner, "birth_number"]
        woman = int(number[2:4]) > 12
        born = dt.date(1900 + int(number[:2]), int(number[2:4]) - 50 * woman, int(number[4:]))
        expected[loan_id] = (
            frequencies[account["frequency"]],
            "female" if woman else "male",
            granted.year - born.year - ((granted.month, granted.day) < (born.month, born.day)),
            int((held["type"] == "DISPONENT").sum()),
            districts.loc[account["district_id"], "A3"],
            int(districts.loc[account["district_id"], "A11"]),
            (granted - day(account["date"])).days,
            any(disp in issued and day(issued[disp]) < granted for disp in held["disp_id"]),
        )
    assert dict(zip(dataset["loan_id"], dataset.select(names).rows(), strict=True)) == expected


def test_the_schema_accepts_the_dataset(dataset: pl.DataFrame) -> None:
    spec = importlib.util.spec_from_file_location("berka_loans_schema", DEFINITION / "schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.BerkaLoans.validate(dataset, lazy=True)


def up_to_the_grant(events: pl.DataFrame) -> pl.DataFrame:
    """What is known when a loan is granted, with the later statuses, which are the labels."""
    grants = events.filter(pl.col("type") == "loan.granted").select("subject", granted="time")
    known = events.join(grants, on="subject", how="left", maintain_order="left").filter(
        pl.col("granted").is_null()
        | (pl.col("time") < pl.col("granted"))
        | pl.col("type").is_in(["loan.granted", "loan.status_reported"])
    )
    assert known.height < events.height
    return known.drop("granted")


def test_no_feature_looks_into_the_future(
    events: pl.DataFrame, dataset: pl.DataFrame, tmp_path: Path
) -> None:
    known = up_to_the_grant(events)
    assert_frame_equal(make_dataset(known, tmp_path), dataset)


def test_the_order_of_storage_does_not_matter(
    events: pl.DataFrame, dataset: pl.DataFrame, tmp_path: Path
) -> None:
    assert_frame_equal(
        make_dataset(events.sample(fraction=1.0, shuffle=True, seed=7), tmp_path), dataset
    )


def test_every_row_of_the_files_is_one_event(events: pl.DataFrame, raw: Path) -> None:
    files = {
        "account.opened": ["account.asc"],
        "card.issued": ["card.asc"],
        "loan.granted": ["loan.asc"],
    }
    files |= {"loan.status_reported": ["loan.asc"], "transaction.posted": [EARLY, LATE]}
    keys = {
        "account.opened": "account_id",
        "card.issued": "card_id",
        "transaction.posted": "trans_id",
    }
    for kind, names in files.items():
        key = keys.get(kind, "loan_id")
        rows = pd.concat([read(raw, name) for name in names]).drop_duplicates(key)
        numbers = [json.loads(data)[key] for data in events.filter(pl.col("type") == kind)["data"]]
        assert sorted(numbers) == sorted(int(number) for number in rows[key])
    assert events.select(pl.struct("source", "id").n_unique()).item() == events.height
    assert set(events["type"]) == set(files)


def test_money_is_kept_as_written(events: pl.DataFrame, raw: Path) -> None:
    rows = pd.concat([read(raw, EARLY), read(raw, LATE)]).drop_duplicates("trans_id")
    written = {
        int(t): (a, b)
        for t, a, b in zip(rows["trans_id"], rows["amount"], rows["balance"], strict=True)
    }
    payloads = [
        json.loads(d, parse_float=str)
        for d in events.filter(pl.col("type") == "transaction.posted")["data"]
    ]
    assert {p["trans_id"]: (p["amount"], p["balance"]) for p in payloads} == written


def test_events_are_in_the_documented_order(events: pl.DataFrame) -> None:
    keys = [
        (row["time"], TYPE_RANK.index(row["type"]), int(row["id"].rpartition("-")[2]))
        for row in events.select("time", "type", "id").iter_rows(named=True)
    ]
    assert all(before < after for before, after in pairwise(keys))
    assert events["time"].dt.time().unique().to_list() == [dt.time(0)]
    assert events["recorded_at"].equals(events["time"], check_names=False)


def test_a_granted_loan_does_not_tell_its_status(events: pl.DataFrame) -> None:
    granted = events.filter(pl.col("type") == "loan.granted")["data"]
    assert {key for data in granted for key in json.loads(data)} == {
        "loan_id", "account_id", "amount", "duration_months", "payments",
    }  # fmt: skip
    reported = events.filter(pl.col("type") == "loan.status_reported")
    assert reported["time"].dt.date().unique().to_list() == [dt.date(1998, 12, 31)]


@pytest.fixture(scope="session")
def risk_lake(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> el.Lake:
    """The lake of all events with the schemas that declared features read them by."""
    lake = LOAD.berka_lake(tmp_path_factory.mktemp("berka_risk") / "lake", raw)
    register(lake)
    return lake


def register(lake: el.Lake) -> None:
    for event_type, schema in json.loads((RISK / "schemas.json").read_text()).items():
        lake.register(event_type, schema)


@pytest.fixture(scope="session")
def risk(risk_lake: el.Lake) -> el.Dataset:
    """The declared features that the committed lock pins."""
    return risk_lake.build(el.read_definition(RISK), locked=True)


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_declared_features_have_one_content_hash_on_both_engines_and_on_a_rerun(
    risk_lake: el.Lake, risk: el.Dataset, engine: str
) -> None:
    again = risk_lake.build(el.read_definition(RISK), engine=engine, force=True)
    assert (again.content_hash, again.manifest_hash) == (risk.content_hash, risk.manifest_hash)


def told(number: int, time: str, balance: str) -> dict[str, object]:
    """A withdrawal that the lake hears of in 1999."""
    return {
        "id": f"told-{number}", "source": "berka/trans", "type": "transaction.posted", "subject": "/account/4127",
        "time": time, "recorded_at": "1999-01-04T00:00:00Z",
        "data": {"type": "withdrawal", "purpose": "sanction_interest", "amount": "25.00", "balance": balance},
    }  # fmt: skip


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_later_events_change_no_declared_feature(
    risk_lake: el.Lake, risk: el.Dataset, tmp_path: Path, engine: str
) -> None:
    shutil.copytree(risk_lake.uri, tmp_path / "lake")
    lake, definition = el.open(tmp_path / "lake"), el.read_definition(RISK)
    lake.append(
        [told(1, "1997-08-01T00:00:00Z", "-99000.00"), told(2, "1998-12-31T00:00:00Z", "-99025.00")]
    )
    then = lake.build(definition, at=risk.watermark, engine=engine, force=True)
    assert (then.content_hash, then.manifest_hash) == (risk.content_hash, risk.manifest_hash)
    assert (
        lake.build(definition, locked=True, engine=engine, force=True).manifest_hash
        == risk.manifest_hash
    )
    # At the head the rows are the same too: nobody knew of August 1st when the loan was granted on
    # the 15th.
    now = lake.build(definition, engine=engine)
    assert now.watermark == risk.watermark + 2
    assert now.content_hash == risk.content_hash


def test_hindsight_sees_what_is_told_later_and_nothing_else(
    risk_lake: el.Lake, risk: el.Dataset, tmp_path: Path
) -> None:
    shutil.copytree(risk_lake.uri, tmp_path / "lake")
    lake, sources = el.open(tmp_path / "lake"), el.read_definition(RISK).projection().sources
    hindsight = replace(el.FeatureSet.from_text("berka_risk", *sources.values()), known="watermark")
    spine = risk.polars().select(pl.exclude("spine_row", *hindsight.columns))
    assert lake.build(hindsight, spine=spine).content_hash == risk.content_hash
    lake.append([told(1, "1997-08-01T00:00:00Z", "-99000.00")])
    rows, seen = risk.polars(), lake.build(hindsight, spine=spine).polars()
    assert seen.join(rows, on=rows.columns, how="anti", nulls_equal=True)["loan_id"].to_list() == [
        5817
    ]
    assert column(seen, "balance_min_30d")[5817] == -9_900_000


def test_declared_features_equal_the_oracle(
    risk: el.Dataset,
    raw: Path,
    loans: dict[int, dict[str, str]],
    histories: dict[int, list[dict[str, str]]],
) -> None:
    accounts = read(raw, "account.asc").set_index("account_id")
    holders = read(raw, "disp.asc").groupby("account_id")
    issued = read(raw, "card.asc").set_index("disp_id")["issued"].to_dict()
    expected: dict[str, dict[int, object]] = {}
    for loan_id, rows in histories.items():
        loan, granted = loans[loan_id], day(loans[loan_id]["date"])

        def expect(name: str, value: object, loan_id: int = loan_id) -> None:
            expected.setdefault(name, {})[loan_id] = value

        expect("bad", loan["status"] in "BD")
        expect("days_open", float((granted - day(accounts.loc[loan["account_id"], "date"])).days))
        held = holders.get_group(loan["account_id"])["disp_id"]
        expect("has_card", any(disp in issued and day(issued[disp]) < granted for disp in held))
        expect("days_since_transaction", float((granted - day(rows[-1]["date"])).days))
        expect("balance_last", hellers(rows[-1]["balance"]))
        for window, days in (("30d", 30), ("90d", 90), ("365d", 365), ("ever", 100_000)):
            within = [row for row in rows if day(row["date"]) >= granted - dt.timedelta(days=days)]
            credited = [hellers(row["amount"]) for row in within if row["type"] in CREDIT]
            withdrawn = [hellers(row["amount"]) for row in within if row["type"] not in CREDIT]
            balances = [hellers(row["balance"]) for row in within]
            expect(f"transactions_{window}", len(within))
            expect(f"credits_{window}", sum(credited))
            expect(f"withdrawals_{window}", sum(withdrawn))
            expect(f"withdrawal_max_{window}", max(withdrawn, default=None))
            expect(f"balance_min_{window}", min(balances, default=None))
            expect(f"balance_max_{window}", max(balances, default=None))
            expect(
                f"balance_mean_{window}",
                float(Fraction(sum(balances), 100 * len(balances))) if balances else None,
            )
            spread = (
                statistics.stdev(Fraction(balance, 100) for balance in balances)
                if len(balances) > 1
                else None
            )
            expect(f"balance_std_{window}", spread)
            expect(f"sanctions_{window}", sum(row["k_symbol"] in SANCTION for row in within))
            expect(f"overdrawn_{window}", sum(balance < 0 for balance in balances))
        for name, (field, codes) in WAYS.items():
            amounts = [hellers(row["amount"]) for row in rows if row[field] in codes]
            expect(name, sum(amounts))
            expect(f"{name}_count", len(amounts))
        sanctions = [row for row in rows if row["k_symbol"] in SANCTION]
        expect("sanctioned", sum(hellers(row["amount"]) for row in sanctions))
        expect(
            "days_since_sanction",
            float((granted - day(sanctions[-1]["date"])).days) if sanctions else None,
        )
    rows = risk.polars()
    features = rows.columns[rows.columns.index("days_open") :]
    assert set(features) == set(expected) - {"bad"}
    # Bit for bit; but spreads are the square root of a quotient that is rounded first, within two
    # units in the last place.
    spreads = {name: values for name, values in expected.items() if name.startswith("balance_std_")}
    assert {name: column(rows, name) for name in expected.keys() - spreads.keys()} == {
        k: v for k, v in expected.items() if k not in spreads
    }
    for name, values in spreads.items():
        found = column(rows, name)
        assert all(
            abs(found[k] - v) <= 2 * math.ulp(v) if v is not None else found[k] is None
            for k, v in values.items()
        ), name


def test_no_declared_feature_looks_into_the_future(events: pl.DataFrame, risk: el.Dataset) -> None:
    known = up_to_the_grant(events)
    lake = LOAD.cut_lake("memory://", known.drop("sequence").to_arrow(), cuts=1, seed=1)
    register(lake)
    assert lake.build(el.read_definition(RISK)).content_hash == risk.content_hash


def cross_validated(rows: pl.DataFrame, columns: list[str]) -> float:
    """Mean over three seeds of the mean AUC of five folds."""
    # Imported here: it takes seconds, and every process that collects tests would wait.
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415
    from sklearn.model_selection import StratifiedKFold, cross_val_score  # noqa: PLC0415

    x = rows.select(columns).to_dummies(pl.selectors.string()).cast(pl.Float64).to_numpy()
    y = rows["bad"].to_numpy()
    scores = []
    for seed in range(3):
        model = ExtraTreesClassifier(
            scaled(500, 150), min_samples_leaf=3, class_weight="balanced", random_state=seed
        )
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        scores.append(cross_val_score(model, x, y, cv=folds, scoring="roc_auc").mean())
    return float(sum(scores) / len(scores))


def test_static_attributes_and_declared_history_tell_bad_loans_with_an_auc_of_090(
    risk: el.Dataset,
) -> None:
    rows = risk.polars()
    known = [
        name
        for name in rows.columns
        if name not in {"spine_row", "loan_id", "subject", "cutoff", "bad"}
    ]
    static = known[: known.index("days_open")]
    with_history, without = cross_validated(rows, known), cross_validated(rows, static)
    print(  # noqa: T201
        f"AUC {without:.4f} static, {with_history:.4f} with history, {rows.height} loans, {rows['bad'].sum()} bad"
    )
    assert with_history >= 0.90
    assert without < with_history - 0.1


@pytest.fixture
def copy(raw: Path, tmp_path: Path) -> Path:
    """The raw files once more, to be spoiled."""
    for name in [
        "account.asc",
        "card.asc",
        "client.asc",
        "disp.asc",
        "district.asc",
        "loan.asc",
        EARLY,
        LATE,
    ]:
        shutil.copyfile(raw / name, tmp_path / name)
    return tmp_path


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Rewrites a file through a function of its bytes."""
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "stump",
    some([b"9", b'99;99;940331;"PRI', b'99;99;940331;"PRIJEM";"VKLAD";1.00;1.00;"";"AB";"12'], 1),
    ids=len,
)
def test_a_truncated_last_line_is_dropped(copy: Path, events: pl.DataFrame, stump: bytes) -> None:
    edit(copy / EARLY, lambda content: content[: content.rindex(b"\n") + 1] + stump)
    made = make_events(copy)
    assert_frame_equal(made, events.select(made.columns))


@pytest.mark.parametrize(
    "line", [b"9\r\n", b"\r\n", b'99;99;940331;"PRIJEM";"VKLAD";1.00;1.00;"";\r\n'], ids=len
)
def test_any_other_broken_line_is_an_error(copy: Path, line: bytes) -> None:
    edit(copy / EARLY, lambda content: content[: content.rindex(b"\n") + 1] + line)
    with pytest.raises(el.EventlakeError, match="not a record"):
        make_events(copy)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (EARLY, b'"PRIJEM"', b'"NEZNAMY"', "unknown type NEZNAMY"),
        (EARLY, b'"VKLAD"', b'"NEZNAMY"', "unknown operation NEZNAMY"),
        (EARLY, b'"UROK"', b'"NEZNAMY"', "unknown k_symbol NEZNAMY"),
        (LATE, b";credit;", b";unheard;", "unknown type unheard"),
        (LATE, b";credit;", b";;", "unknown type"),
        (
            "account.asc",
            b'"POPLATEK TYDNE"',
            b'"NEZNAMY"',
            "column frequency.*one of the codes .*found 'NEZNAMY'",
        ),
        ("card.asc", b'"gold"', b'"tin"', "column type.*one of the codes .*found 'tin'"),
        ("loan.asc", b'"B"', b'"E"', "column status.*one of the codes .*found 'E'"),
        ("disp.asc", b'"DISPONENT"', b'"THIEF"', "unknown type THIEF"),
        (EARLY, b";700.00;", b";7e2;", "not a record"),
        (
            LATE,
            b";900.00;",
            b";900.005;",
            "expected decimal.18, 2., no digit lost, found '900.005'",
        ),
    ],
)
def test_an_unknown_code_is_an_error(
    copy: Path, name: str, old: bytes, new: bytes, message: str
) -> None:
    edit(copy / name, lambda content: content.replace(old, new, 1))
    with pytest.raises(el.EventlakeError, match=message):
        make_events(copy)


def english(line: bytes) -> bytes:
    """A cash deposit of the .asc file as the .csv file would have it."""
    return (
        line.replace(b'"PRIJEM";"VKLAD"', b"credit;credit in cash")
        .replace(b'""', b"")
        .rstrip(b"\r")
    )


def test_a_transaction_in_both_files_is_one_event(copy: Path, events: pl.DataFrame) -> None:
    first = english((copy / EARLY).read_bytes().split(b"\n")[1])
    edit(copy / LATE, lambda content: content.rstrip(b"\n") + b"\n" + first)
    made = make_events(copy)
    assert_frame_equal(made, events.select(made.columns))


def test_copies_of_a_transaction_that_disagree_are_an_error(copy: Path) -> None:
    first = english((copy / EARLY).read_bytes().split(b"\n")[1])
    number, rest = first.split(b";", 1)
    account, rest = rest.split(b";", 1)
    edit(
        copy / LATE,
        lambda content: content.rstrip(b"\n") + b"\n" + number + b";1" + account + b";" + rest,
    )
    with pytest.raises(el.EventlakeError, match="differs between its copies"):
        make_events(copy)


def test_a_transaction_twice_in_one_file_is_an_error(copy: Path) -> None:
    edit(copy / LATE, lambda content: content + b"\n" + content.rsplit(b"\n", 1)[1])
    with pytest.raises(el.EventlakeError, match="is twice in one file"):
        make_events(copy)

# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From events to a model, and back a year later
#
# A small lender records everything that happens to its loans. We train a model that says which loans will be overdue, let history go on,
# train a better one, and then rebuild the **first** training set bit for bit from its hash, to get the very same first model again.
#
# The lender is simulated (it comes with eventlake), so this runs anywhere in a few seconds.

# %%
import tempfile
from datetime import UTC, datetime

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import pandas as pd
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import eventlake as el
from eventlake.demo import SCHEMAS, definition, simulate

# %% [markdown]
# ## 1. Append
#
# A folder is a lake. Events go in as a table here; dicts, NDJSON and Parquet do as well. A batch is checked as a whole and is durable when
# `append` returns. Every event type has a schema, so a payload that does not fit is refused.

# %%
events = pl.DataFrame(simulate())
autumn = datetime(2025, 9, 1, tzinfo=UTC)

lake = el.create(tempfile.mkdtemp() + "/lake", origin="notebook.example/lender")
for event_type, schema in SCHEMAS.items():
    lake.register(event_type, schema)
lake.append(events.filter(pl.col("recorded_at") < autumn))

# %%
lake

# %% [markdown]
# A snapshot is a read-only view that never changes. `scan()` is a Polars LazyFrame, `sql()` runs DuckDB.

# %%
lake.snapshot().sql("SELECT sequence, type, subject, time, data FROM events ORDER BY sequence LIMIT 5")

# %% [markdown]
# An event type is a table of its own, with the payload's fields as columns; money is decimal. The bank is not always right: a
# correction is a further event, and `corrections="latest"` shows what is valid now.

# %%
recorded = lake.snapshot().table("payment.received", ["amount"]).collect()["amount"]
valid = lake.snapshot().table("payment.received", ["amount"], corrections="latest").collect()["amount"]
print(f"recorded: {len(recorded):,} payments, {recorded.sum():,}; valid now: {len(valid):,} payments, {valid.sum():,}")

# %%
lake.snapshot().sql("""
    SELECT subject, sequence, id, time, recorded_at, amount FROM "payment.received"
    WHERE recorded_at - time > INTERVAL 20 DAY ORDER BY sequence LIMIT 5
""")

# %% [markdown]
# ## 2. Build a training set
#
# The dataset definition (a SQL query, the same in Polars, a pandera schema, and a query for the *spine*) is packaged with the demo. One row per
# loan: what was known **strictly before** its third instalment fell due, and whether it went overdue in the 90 days after.

# %%
first = lake.build(definition())
first

# %%
first.polars().head()

# %% [markdown]
# Both engines compute the same rows: their content hashes are equal.

# %%
on_polars = lake.build(definition(), engine="polars")
assert on_polars.content_hash == first.content_hash

# %% [markdown]
# ## 3. Train
#
# We keep the manifest hash beside the model. It names the history, the code, the engine and the rows.


# %%
def train(dataset):
    rows = dataset.pandas()
    x, y = rows.drop(columns=["loan", "overdue"]).astype(float).fillna(-1), rows["overdue"].astype(bool)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(x, y), x, y


model_one, x_one, y_one = train(first)
kept = {"model": "overdue-1", "dataset": first.manifest_hash}
kept

# %% [markdown]
# ## 4. History goes on
#
# Half a year later there are more loans and more payments. The old training set is untouched; a new one is built at the new head.

# %%
lake.append(events.filter(pl.col("recorded_at") >= autumn))
second = lake.build(definition())
model_two, x_two, y_two = train(second)
assert second.manifest.rows > first.manifest.rows

# %% [markdown]
# How good was model one on the loans it had never seen? Sorted by the risk it gave them, into fifths:

# %%
unseen = ~second.pandas()["loan"].isin(first.pandas()["loan"])
risk, overdue = model_one.predict_proba(x_two[unseen])[:, 1], y_two[unseen]
score = roc_auc_score(overdue, risk)
fifths = overdue.groupby(pd.qcut(risk, 5, labels=["lowest", "2", "3", "4", "highest"]), observed=True).mean()
assert fifths["highest"] > 2 * fifths["lowest"]

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
monthly = events.group_by(pl.col("recorded_at").dt.truncate("1mo")).len().sort("recorded_at")
colours = ["#35618f" if month < autumn else "#c3d3e6" for month in monthly["recorded_at"]]
left.bar(monthly["recorded_at"], monthly["len"], width=25, color=colours)
left.set_title("events recorded per month: dark is what model one could see", fontsize=10)
left.xaxis.set_major_locator(mdates.MonthLocator(bymonth=(1, 7)))
left.xaxis.set_major_formatter(mdates.DateFormatter("%b %Y"))
right.bar(fifths.index, 100 * fifths, color="#35618f")
right.set_title(f"% overdue by model one's risk, {len(risk)} unseen loans (AUC {score:.2f})", fontsize=10)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
plt.tight_layout()

# %% [markdown]
# ## 5. Which data trained model one?
#
# The hash answers. `reproduce` runs the archived code over the history at the old watermark, from scratch, and compares.

# %%
again = lake.reproduce(kept["dataset"])
assert again.identical
again

# %% [markdown]
# Same rows, same model: every coefficient is equal to the last bit.

# %%
model_again, _, _ = train(again.dataset)
assert (model_again[-1].coef_ == model_one[-1].coef_).all()
assert model_again[-1].intercept_ == model_one[-1].intercept_

# %% [markdown]
# And the history itself can be checked: every file, every event, every dataset. One of them was built by Python, which runs only if you trust it.

# %%
report = lake.verify(deep=True, trust=True)
assert report.ok
report

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
# # What an account's history tells about its loan
#
# A Czech bank granted these loans between 1993 and 1998, and some went bad. How much does the bank know on the day of the grant from the loan's
# terms and what it knows of its owner, and how much more from what happened on the account? The history comes in as *declared features*: each
# is a line that says what is counted, over which window before the grant, and nothing after the grant can get into it.
#
# The data is real: the "financial" data of the PKDD'99 Discovery Challenge, made public for research by P. Berka and M. Sochorova. It states no
# licence and is not part of this repository. The outputs shown here were computed from it; set `EVENTLAKE_REAL_DATA` to the folder that
# holds it. Without it, the same cells run over the simulated lender that comes with eventlake.

# %%
import json
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import eventlake as el
from eventlake.demo import SCHEMAS, definition, demo_lake

DATASETS = Path("../datasets")
REAL = os.environ.get("EVENTLAKE_REAL_DATA")

# %% [markdown]
# ## 1. Events
#
# `mapping.toml` says which events the rows of the bank's files are. A transaction is one event, and a loan is two: its terms, on the day of the
# grant, and its status, as it was reported on the last day of 1998. Every type whose events are counted has a schema.

# %%
folder = tempfile.mkdtemp()
if REAL:
    raw = Path(REAL) if (Path(REAL) / "loan.asc").exists() else Path(REAL) / "berka"
    lake = el.create(folder + "/lake", origin="berka.example/financial")
    el.import_file(lake, raw, DATASETS / "berka_loans/mapping.toml")
    for event_type, schema in json.loads((DATASETS / "berka_risk/schemas.json").read_text()).items():
        lake.register(event_type, schema)
else:
    print("EVENTLAKE_REAL_DATA is not set: this is the simulated lender")
    lake = demo_lake(Path(folder) / "lake")

lake.snapshot().sql("SELECT type, count(*) AS events, min(time) AS first, max(time) AS last FROM events GROUP BY type ORDER BY first, type")

# %% [markdown]
# ## 2. Features
#
# The *spine* has one row per loan: the account, the instant of the grant as the *cutoff*, the label, and the static attributes. Loans whose history
# is complete are in it; [spine.sql](../datasets/berka_risk/spine.sql) is the query. The features are computed for each of its rows.

# %%
print((DATASETS / "berka_risk/features.py").read_text().partition("import eventlake as el")[2].strip())

# %%
if REAL:
    risk, spine = el.read_definition(DATASETS / "berka_risk"), None
    label, key, entity, history_begins = "bad", "loan_id", "subject", "days_open"
    posted, money, telling = "transaction.posted", "balance", "overdrawn_ever"
else:
    terms = [el.last("loan.granted", field) for field in ("principal", "term_months", "rate")]
    missed = [el.since_last("payment.missed"), el.count("payment.missed", window=["30d", "90d"]), el.count("payment.missed")]
    paid = [el.since_last("payment.received"), el.count("payment.received"), el.mean("payment.received", "amount")]
    risk = el.FeatureSet("lender_risk", spine_by="loan", features=[*terms, *missed, *paid, el.count("reminder.sent")])
    spine = lake.snapshot().sql((definition().folder / "spine.sql").read_text()).polars()
    label, key, entity, history_begins = "overdue", "loan", "loan", "payment_missed_days_since_last"
    posted, money, telling = "payment.missed", "amount", "payment_missed_count"

dataset = lake.build(risk, spine=spine)
rows = dataset.polars()
print(f"{rows.height} loans, {rows[label].sum()} of them {label}, {len(rows.columns)} columns")
print("content hash", dataset.content_hash)

# %% [markdown]
# The same rows to the last bit come from both engines, and from building again.

# %%
for engine in ("duckdb", "polars"):
    again = lake.build(risk, spine=spine, engine=engine, force=True)
    assert again.content_hash == dataset.content_hash
    assert again.manifest_hash == dataset.manifest_hash

# %% [markdown]
# Then history goes on: today an old event is appended, about an account that is in the dataset. At the old watermark nothing changes.
# At the head nothing changes either, because on the day of the grant nobody knew of it.

# %%
ours = (pl.col("type") == posted) & pl.col("subject").is_in(rows[entity].implode())
one = lake.snapshot().scan().filter(ours).head(1).collect().row(0, named=True)
late = {name: one[name] for name in ("source", "type", "subject", "time")} | {"id": "recorded-late", "data": json.loads(one["data"])}
lake.append([late])

assert lake.build(risk, spine=spine, at=dataset.watermark, force=True).manifest_hash == dataset.manifest_hash
assert lake.build(risk, spine=spine).content_hash == dataset.content_hash
lake.reproduce(dataset.manifest_hash)

# %% [markdown]
# And does any row know more than it may? `check_leakage` computes rows again from a history that ends at their cutoff; here ten of them.

# %%
report = el.check_leakage(dataset, rows=10)
assert report.ok
report

# %% [markdown]
# ## 3. Static attributes alone, and with the history
#
# Extremely randomised trees, five stratified folds, three seeds. Nothing was tuned, and no feature was chosen by what it did to the result.

# %%
x, y = dataset.xy(label, drop=[key])
static = list(x.columns[: x.columns.get_loc(history_begins)])
bad = y.to_numpy(dtype=bool)
seeds = range(3 if REAL else 1)


def out_of_fold(x, seed):
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    trees = ExtraTreesClassifier(500, min_samples_leaf=3, class_weight="balanced", random_state=seed)
    risks = cross_val_predict(trees, x, bad, cv=folds, method="predict_proba")[:, 1]
    return risks, [roc_auc_score(bad[test], risks[test]) for _, test in folds.split(x, bad)]


risks, scores = {}, {}
for name, columns in {"static": static, "static + history": list(x.columns)}.items():
    found = [out_of_fold(pd.get_dummies(x[columns], dtype=float).to_numpy(), seed) for seed in seeds]
    risks[name] = np.array([one for one, _ in found])
    scores[name] = np.array([fold_scores for _, fold_scores in found])
    print(f"{name:17} {len(columns):3} columns   AUC {scores[name].mean():.3f}   by seed", scores[name].mean(axis=1).round(3))

assert scores["static + history"].mean() > scores["static"].mean()
assert not REAL or scores["static + history"].mean() >= 0.90

# %%
colours = {"static": "#c28f2c", "static + history": "#35618f"}
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(3, 4))
for name, colour in colours.items():
    for risk_of_seed in risks[name]:
        false, true, _ = roc_curve(bad, risk_of_seed)
        left.plot(100 * false, 100 * true, color=colour, linewidth=1.2)
    right.scatter(scores[name].ravel(), [name] * scores[name].size, color=colour, alpha=0.5, s=36, linewidth=0)
    right.plot(scores[name].mean(), name, "|", color=colour, markersize=30, markeredgewidth=2.5)
    right.annotate(f"mean {scores[name].mean():.3f}", (scores[name].mean(), name), (0, 22), textcoords="offset points", ha="center", color=colour)
left.plot([0, 100], [0, 100], color="#bbbbbb", linewidth=0.8)
left.set(xlabel="% of the other loans flagged", ylabel=f"% of the {label} loans found")
left.set_title("out-of-fold, one curve a seed", fontsize=10)
right.set_title("AUC of every fold: 5 folds, 3 seeds", fontsize=10)
right.set(xlabel="AUC", ylim=(-0.5, 1.6))
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
plt.tight_layout()

# %% [markdown]
# ## 4. Calibration
#
# Does a risk of 30 % mean that three in ten go bad? The trees weigh both classes alike, so their mean vote ranks loans but is not a
# probability: it is too high. A logistic regression on its log-odds, fitted to the other four folds, calibrates it. With so few bad loans, the
# error bars are long.

# %%
raw_risk = risks["static + history"].mean(axis=0)
log_odds = np.log(np.clip(raw_risk, 1e-3, 1 - 1e-3) / (1 - np.clip(raw_risk, 1e-3, 1 - 1e-3))).reshape(-1, 1)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
calibrated = cross_val_predict(LogisticRegression(C=np.inf), log_odds, bad, cv=folds, method="predict_proba")[:, 1]
share = np.full(len(bad), bad.mean())
brier = {name: brier_score_loss(bad, one) for name, one in {"base rate": share, "trees": raw_risk, "calibrated": calibrated}.items()}
print({name: round(value, 4) for name, value in brier.items()})
assert brier["calibrated"] < min(brier["trees"], brier["base rate"])

# %%
sixths = np.array_split(np.argsort(calibrated), 6)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(3, 4))
for name, one, colour in (("trees", raw_risk, "#c28f2c"), ("calibrated", calibrated, "#35618f")):
    predicted, observed = np.array([(one[group].mean(), bad[group].mean()) for group in sixths]).T
    spread = np.sqrt(observed * (1 - observed) / len(sixths[0]))
    left.errorbar(100 * predicted, 100 * observed, 100 * spread, fmt="o-", color=colour, linewidth=1.2, capsize=3, label=name)
left.plot([0, 60], [0, 60], color="#bbbbbb", linewidth=0.8)
left.set(xlabel="predicted risk, %", ylabel=f"{label}, %")
left.set_title("sixths of the loans, by risk; bars are one standard error", fontsize=10)
left.legend(frameon=False)
shake = np.random.default_rng(0).uniform(-0.3, 0.3, len(bad))
right.scatter(100 * calibrated, bad + shake, s=12, linewidth=0, alpha=0.6, c=np.where(bad, "#a33b2f", "#8fa9c7"))
right.set(xlabel="calibrated risk, out-of-fold, %", yticks=[0, 1], yticklabels=[f"{(~bad).sum()} others", f"{bad.sum()} {label}"])
right.set_title("every loan a dot", fontsize=10)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
plt.tight_layout()

# %% [markdown]
# ## 5. The events behind the riskiest loan
#
# The loan with the highest risk, given by trees that had never seen it:

# %%
riskiest = rows[int(raw_risk.argmax())]
print(f"risk {calibrated[raw_risk.argmax()]:.0%}, {label}: {riskiest[label].item()}")
riskiest.select(key, "cutoff", telling, *static[:3])

# %% [markdown]
# `explain` lists the events that were counted, by sequence and id, as the bank wrote them.

# %%
behind = dataset.explain(riskiest["spine_row"].item(), telling)
assert behind.behind.height == riskiest[telling].item()
behind

# %%
table = lake.snapshot(at=dataset.watermark).table(posted, ["sequence", "time", money])
history = table.join(behind.events.lazy().select("sequence"), on="sequence").sort("sequence").collect()
counted = history.join(behind.behind.select("sequence"), on="sequence", how="semi")
cutoff = riskiest["cutoff"].item()
assert history["time"].max() < cutoff

figure, axes = plt.subplots(figsize=(11, 3.4))
axes.step(history["time"], history[money].cast(pl.Float64), where="post", color="#35618f", linewidth=1)
axes.plot(counted["time"], counted[money].cast(pl.Float64), "o", color="#a33b2f", markersize=4, label=f"{telling}: {counted.height} events")
axes.axhline(0, color="#bbbbbb", linewidth=0.8)
axes.axvline(cutoff, color="black", linewidth=1, linestyle=":")
axes.annotate("cutoff", (cutoff, 1), (-4, -10), xycoords=("data", "axes fraction"), textcoords="offset points", ha="right", fontsize=9)
axes.set_title(f"{money} by {posted} before loan {riskiest[key].item()}", fontsize=10)
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
plt.tight_layout()

"""MLflow stores which dataset a run was trained on, and finds it again."""

import importlib
import json
import subprocess
import sys

import pytest

import eventlake as el
from eventlake.errors import InvalidInputError
from tests.support.feature_fixtures import FEATURES, SPINE, filled


@pytest.fixture(scope="module")
def mlflow():
    # Imported late: it takes seconds, and every process that collects tests would wait.
    return pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def ours(mlflow):
    return importlib.import_module("eventlake.mlflow")


@pytest.fixture
def run(tmp_path, monkeypatch, mlflow):
    """Logs datasets in a run, and gives what was stored of them."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    mlflow.set_experiment("loans")

    def logged(*datasets):
        with mlflow.start_run() as begun:
            for one in datasets:
                mlflow.log_input(one, context="training")
        return mlflow.get_run(begun.info.run_id).inputs.dataset_inputs

    yield logged
    mlflow.set_tracking_uri(None)


def test_a_run_names_the_content_hash_and_leads_back_to_the_rows(tmp_path, run, ours, mlflow):
    lake = filled(el.create(tmp_path / "lake", "tests.eventlake/mlflow"))
    made = lake.build(FEATURES, spine=SPINE)
    (stored,) = run(ours.dataset(made))
    assert stored.dataset.name == "risk"
    assert stored.dataset.digest == made.content_hash[:36]
    assert lake.dataset(stored.dataset.digest).manifest_hash == made.manifest_hash
    profile = json.loads(stored.dataset.profile)
    assert (profile["content_hash"], profile["manifest_hash"], profile["num_rows"]) == (
        made.content_hash,
        made.manifest_hash,
        3,
    )
    columns = {
        one["name"]: one["type"] for one in json.loads(stored.dataset.schema)["mlflow_colspec"]
    }
    assert columns["cutoff"] == "datetime"
    assert columns["payment_count_2d"] == "long"
    assert columns["payment_amount_mean"] == "double"
    assert columns["late"] == "boolean"
    found = mlflow.data.get_source(stored).load()
    assert found.polars().equals(made.polars())


def test_other_rows_have_another_digest_and_the_name_may_be_chosen(tmp_path, run, ours):
    lake = filled(el.create(tmp_path / "lake", "tests.eventlake/mlflow"))
    one, other = lake.build(FEATURES, spine=SPINE), lake.build(FEATURES, spine=SPINE.head(2))
    stored = run(ours.dataset(one, "before"), ours.dataset(other))
    assert {item.dataset.name: item.dataset.digest for item in stored} == {
        "before": one.content_hash[:36],
        "risk": other.content_hash[:36],
    }
    assert one.content_hash != other.content_hash


def test_what_is_no_dataset_is_refused(ours):
    with pytest.raises(InvalidInputError, match="expected a dataset"):
        ours.dataset("risk")


def test_without_mlflow_the_extra_is_named_and_nothing_else_needs_it():
    program = "import sys; sys.modules['mlflow'] = None; import eventlake; import eventlake.mlflow"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert "pip install 'eventlake[mlflow]'" in done.stderr

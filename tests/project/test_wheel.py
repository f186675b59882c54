"""What ``pip install`` puts on a machine that has no checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_brings_types_and_the_demo_definition_with_its_lock(installed):
    assert (installed / "eventlake" / "py.typed").is_file()
    packaged = {
        path.name for path in (installed / "eventlake" / "demo" / "overdue_loans").iterdir()
    }
    assert packaged >= {
        path.name for path in (ROOT / "datasets" / "overdue_loans").iterdir() if path.is_file()
    }


def test_the_demo_runs_from_the_wheel_alone(installed, tmp_path):
    script = (
        "from pathlib import Path; from eventlake.demo.run_demo import definition, run_demo; "
        "print(definition().folder); print(run_demo(Path('lake')).identical)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(installed / "eventlake" / "demo" / "overdue_loans"), "True"]

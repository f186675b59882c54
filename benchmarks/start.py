"""Starting: the import of the package and the shortest commands, each as a process of its own."""

import subprocess
import sys

from append import ORIGIN
from data import Setting, scratch
from measure import Candidate, Row, interleaved

import eventlake as el

LIMITS_MS = {"import eventlake": 250, "eventlake --help": 200, "eventlake show": 500}


def process(*arguments: str) -> None:
    """Runs a Python process to its end."""
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own commands


def row(setting: Setting) -> Row:
    """Measures the row."""
    result = Row("start", "starting a process, until its result is printed")
    with scratch() as folder:
        lake = el.create(folder / "lake", ORIGIN)
        lake.append(setting.events(1_000))
        command = ("-m", "eventlake")
        runs = {
            "python -c pass": ("-c", "pass"),
            "import pyarrow": ("-c", "import pyarrow"),
            "import eventlake": ("-c", "import eventlake"),
            "eventlake --help": (*command, "--help"),
            "eventlake show": (*command, "show", str(folder / "lake")),
        }
        candidates = [
            Candidate(name, lambda arguments=arguments: process(*arguments))
            for name, arguments in runs.items()
        ]
        measured = interleaved("one process", 1, candidates, setting.times(15))
    result.tables.append(measured)
    for name, limit in LIMITS_MS.items():
        result.add(f"{name}: CPU", "", measured.get(name, "cpu_ms"), "ms", limit)
    result.note("The lake has one commit of 1,000 events. Bytecode is compiled before.")
    return result

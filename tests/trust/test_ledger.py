"""The ledger: what was found to be true is remembered by all processes of one user, and losing it is harmless."""

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from eventlake.trust import Ledger, cache_folder, statement

pytestmark = pytest.mark.every_case

SHE, HE, IT = (statement(word) for word in ("she", "he", "it"))


def test_what_was_noted_is_known_to_another_ledger_in_the_same_folder(tmp_path):
    one, other = Ledger(tmp_path), Ledger(tmp_path)
    one.note([SHE, HE])
    assert other.unknown([SHE, HE, IT]) == {IT}
    assert other.knows(SHE)
    assert not other.knows(IT)


def test_statements_differ_when_any_part_does():
    parts = [("a", "b"), ("ab",), ("a", ["b"]), ("a", 1), ("a", "1"), ("a", None), ()]
    assert len({statement(*part) for part in parts}) == len(parts)


def test_the_folder_and_the_file_are_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENTLAKE_CACHE", str(tmp_path / "cache"))
    Ledger().note([SHE])
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "cache" / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_can_write_to_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENTLAKE_CACHE", str(tmp_path))
    Ledger().note([SHE])
    assert Ledger().knows(SHE)
    tmp_path.chmod(0o777)
    assert cache_folder() is None
    alone = Ledger()
    assert not alone.knows(SHE)
    alone.note([HE])
    assert alone.knows(HE)
    assert not Ledger().knows(HE)


def test_the_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("EVENTLAKE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_folder() == tmp_path / "home" / ".cache" / "eventlake"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "eventlake"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "home" / "Library" / "Caches" / "eventlake"


def test_a_folder_that_cannot_be_made_leaves_a_process_its_own_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EVENTLAKE_CACHE", str(tmp_path / "file" / "cache"))
    alone = Ledger()
    alone.note([SHE])
    assert alone.knows(SHE)
    assert not Ledger().knows(SHE)


@pytest.mark.parametrize("damage", [b"", b"no database" * 1000])
def test_a_ledger_that_was_damaged_begins_anew(tmp_path, damage):
    Ledger(tmp_path).note([SHE])
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "ledger.sqlite").write_bytes(damage)
    again = Ledger(tmp_path)
    assert not again.knows(SHE)
    again.note([HE])
    assert Ledger(tmp_path).knows(HE)


def test_a_link_in_place_of_the_ledger_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "ledger.sqlite").symlink_to(elsewhere)
    one = Ledger(tmp_path / "cache")
    one.note([SHE])
    assert one.knows(SHE)
    assert not elsewhere.exists()


def test_the_oldest_statements_go_first(tmp_path):
    statements = [statement(number) for number in range(300)]
    one = Ledger(tmp_path, most_statements=100, trim_every=10)
    for some in statements:
        one.note([some])
    left = Ledger(tmp_path).unknown(statements)
    assert set(statements[-90:]).isdisjoint(left)
    assert set(statements[:150]) <= left


def test_threads_share_a_ledger(tmp_path):
    one = Ledger(tmp_path)
    statements = [statement(number) for number in range(400)]
    threads = [
        threading.Thread(
            target=lambda some=statements[start::8]: [one.note([each]) for each in some]
        )
        for start in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not Ledger(tmp_path).unknown(statements)


def test_processes_share_a_ledger(tmp_path):
    code = (
        "import sys; from pathlib import Path; from eventlake.trust import Ledger, statement\n"
        "one = Ledger(Path(sys.argv[1]))\n"
        "for number in range(200): one.note([statement(sys.argv[2], number)])"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(who)]) for who in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert not Ledger(tmp_path).unknown(
        statement(str(who), number) for who in range(3) for number in range(200)
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_opens_the_ledger_for_itself(tmp_path):
    one = Ledger(tmp_path)
    one.note([SHE])

    def child():
        one.note([HE])
        os._exit(0 if one.knows(SHE) and one.knows(HE) else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0
    one.note([IT])
    assert not Ledger(tmp_path).unknown([SHE, HE, IT])

"""Appends, compactions, collections, fences, crashes and rivals in any order, against a list of events."""

import random
import uuid
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import eventlake as el
from eventlake.core import layout
from eventlake.errors import InvalidEventsError
from eventlake.storage import MemoryStorage
from tests.scope import examples, scaled
from tests.support import naive
from tests.support.events import moment, rows_of
from tests.support.limits import limited

WHO = st.integers(0, 1)


class CrashError(Exception):
    """The process is gone."""


class Mortal(MemoryStorage):
    """Memory whose user dies at the n-th ``create`` from ``arm`` on, before or after it took effect, or is overtaken by a rival there."""

    def __init__(self):
        super().__init__()
        self.countdown, self.when, self.rival = None, "before", None

    def arm(self, countdown, when):
        """From now on the ``countdown``-th create is the last one."""
        self.countdown, self.when = countdown, when

    def create(self, path, data):
        """As ``MemoryStorage``, or the end."""
        if layout.commit_version(path) is not None and self.rival is not None:
            rival, self.rival = self.rival, None
            rival()
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                self.countdown = None
                if self.when == "after":
                    super().create(path, data)
                raise CrashError(path)
        super().create(path, data)


class MaintenanceMachine(RuleBasedStateMachine):
    """A lake, two handles on it, and the list of events that both must show."""

    FOLD_WEIGHT = 40

    def opened(self):
        return limited(el.open(self.storage), fold_weight=self.FOLD_WEIGHT, tier_ratio=3)

    @initialize(commits=st.integers(0, 24))
    def create(self, commits):
        self.storage = Mortal()
        el.create(self.storage, "o")
        self.lakes = [self.opened(), self.opened()]
        self.history, self.kept, self.number = [], [], 0
        self.checkpoints = [(0, naive.root([]))]
        for number in range(commits):
            batch = self.fresh(1, large=number >= 3)
            self.lakes[0].append(self.given(batch))
            self.history += batch
        self.grown([])

    def fresh(self, rows, large=False):
        """Events that nobody has seen, some of them without a subject, a payload or a time; large ones part runs of small ones."""
        made = []
        for row in range(rows):
            self.number += 1
            event = {"id": f"{self.number}", "source": "s", "type": "tu"[self.number % 2]}
            event |= {"subject": f"/{row}"} if self.number % 3 else {}
            event |= {"time": 1_700_000_000_000_000 + self.number} if self.number % 4 == 0 else {}
            if large or self.number % 5:
                event["data"] = (
                    f'"{random.Random(self.number).randbytes(2_000 if large else 3).hex()}"'
                )
            made.append(event)
        return made

    def given(self, batch):
        return [
            event | ({"time": moment(event["time"])} if "time" in event else {}) for event in batch
        ]

    def grown(self, batch):
        self.history += batch
        self.checkpoints.append((len(self.history), naive.root(self.history)))

    @rule(who=WHO, rows=st.integers(1, 3), large=st.booleans())
    def append(self, who, rows, large):
        batch = self.fresh(rows, large)
        receipt = self.lakes[who].append(self.given(batch))
        assert (receipt.start, receipt.stop) == (len(self.history), len(self.history) + rows)
        self.grown(batch)
        assert (receipt.checkpoint.watermark, receipt.checkpoint.root) == self.checkpoints[-1]

    @rule(who=WHO, times=st.integers(2, 6))
    def append_several(self, who, times):
        for _ in range(times):
            self.append(who, 1, large=False)

    @rule(who=WHO, rows=st.integers(1, 3))
    def append_in_a_group(self, who, rows):
        batch = self.fresh(rows)
        with self.lakes[who].writer(max_delay=0) as writer:
            futures = [writer.append(self.given([event])) for event in batch]
        assert [future.result().start for future in futures] == list(
            range(len(self.history), len(self.history) + rows)
        )
        for event in batch:
            self.history.append(event)
        self.checkpoints.append((len(self.history), naive.root(self.history)))

    @precondition(lambda self: self.history)
    @rule(who=WHO, data=st.data())
    def repeat(self, who, data):
        known = data.draw(st.sampled_from(self.history))
        with pytest.raises(InvalidEventsError, match="in the lake already"):
            self.lakes[who].append(self.given([known]))
        batch = self.fresh(1)
        receipt = self.lakes[who].append(self.given([known, *batch]), duplicates="skip_identical")
        assert (receipt.count, receipt.skipped) == (1, 1)
        self.grown(batch)

    @rule(who=WHO, subject=st.integers(0, 3))
    def expect(self, who, subject):
        about = [event["id"] for event in self.history if event.get("subject") == f"/{subject}"]
        batch = self.fresh(1)
        expected = (
            el.on_event(f"/{subject}", about[-1])
            if about
            else el.pristine(f"/{subject}", subtree=True)
        )
        self.lakes[who].append(
            self.given(batch), expect=[expected, el.at_watermark(len(self.history))]
        )
        self.grown(batch)

    @rule(who=WHO, theirs=st.integers(1, 2), ours=st.integers(1, 2))
    def conflict(self, who, theirs, ours):
        rival, batch = self.fresh(theirs), self.fresh(ours)

        def overtake():
            self.lakes[1 - who].append(self.given(rival))
            self.grown(rival)

        self.storage.rival = overtake
        receipt = self.lakes[who].append(self.given(batch))
        assert receipt.start == len(self.history)
        self.grown(batch)

    @rule(who=WHO, rows=st.integers(1, 2), maintenance=st.sampled_from(["compact", "gc"]))
    def maintain_between(self, who, rows, maintenance):
        batch = self.fresh(rows)
        self.storage.rival = {
            "compact": self.lakes[1 - who].compact,
            "gc": lambda: self.delete(1 - who),
        }[maintenance]
        assert self.lakes[who].append(self.given(batch)).start == len(self.history)
        self.grown(batch)

    @rule(who=WHO)
    def reopen(self, who):
        self.lakes[who] = self.opened()

    @rule(who=WHO, number=st.sampled_from([2, 3, 5, 10**6]))
    def compact(self, who, number):
        sizes = [item.size_bytes for item in self.storage.list("segments")]
        self.lakes[who].compact(target_bytes=int((number + 0.5) * max(sizes, default=1)))

    @rule(who=WHO)
    def gc(self, who):
        self.delete(who)

    def delete(self, who):
        self.lakes[who].gc(older_than=timedelta(0), dry_run=False)

    @rule(who=WHO)
    def fence(self, who):
        assert self.lakes[who].resolve(str(uuid.uuid4())) is None

    @rule(who=WHO, share=st.floats(0, 1))
    def keep(self, who, share):
        watermark = int(share * len(self.history))
        snapshot = self.lakes[who].snapshot(watermark)
        self.kept = [*self.kept[-4:], (snapshot, rows_of(snapshot.scan().collect()))]

    @rule()
    def read_what_was_kept(self):
        for snapshot, rows in self.kept:
            assert snapshot.root == naive.root(self.history[: snapshot.watermark])
            assert rows_of(snapshot.scan().collect()) == rows
            assert rows_of(snapshot.sql("from events order by sequence")) == rows

    @rule(
        who=WHO,
        rows=st.integers(1, 2),
        countdown=st.integers(0, 4),
        when=st.sampled_from(["before", "after"]),
        what=st.sampled_from(["append", "append", "compact", "gc"]),
    )
    def crash(self, who, rows, countdown, when, what):
        batch = self.fresh(rows) if what == "append" else []
        self.storage.arm(countdown, when)
        try:
            {
                "append": lambda: self.lakes[who].append(self.given(batch)),
                "compact": self.lakes[who].compact,
                "gc": lambda: self.delete(who),
            }[what]()
            survived = True
        except CrashError:
            survived = False
        self.storage.countdown = None
        self.lakes[who] = self.opened()
        found = self.lakes[who].watermark - len(self.history)
        assert found == rows * (what == "append") if survived else found in {0, len(batch)}
        if found:
            self.grown(batch)

    @invariant()
    def both_handles_show_the_list(self):
        if not hasattr(self, "lakes"):
            return
        expected = [
            (number, *(event.get(name) for name in ("id", "type", "subject", "data")))
            for number, event in enumerate(self.history)
        ]
        for lake in self.lakes:
            snapshot = lake.snapshot()
            assert (snapshot.watermark, snapshot.root) == self.checkpoints[-1]
            assert (
                snapshot.scan(["sequence", "id", "type", "subject", "data"]).collect().rows()
                == expected
            )

    @invariant()
    def an_earlier_history_is_what_it_was(self):
        if hasattr(self, "lakes"):
            watermark, root = self.checkpoints[len(self.history) % len(self.checkpoints)]
            assert self.lakes[0].snapshot(watermark).root == root

    def teardown(self):
        if not hasattr(self, "lakes"):
            return
        lake = self.opened()
        assert lake.verify(deep=True).ok
        self.delete(0)
        report = lake.verify(deep=True)
        assert (report.problems, report.notes) == ((), ())
        self.read_what_was_kept()


class OneTierMachine(MaintenanceMachine):
    """The same with tiers so large that there is one at most."""

    FOLD_WEIGHT = 1_024


SETTINGS = settings(max_examples=examples(10), stateful_step_count=scaled(22, 12), deadline=None)
TestOneTierMachine = OneTierMachine.TestCase
TestOneTierMachine.settings = SETTINGS
TestMaintenanceMachine = MaintenanceMachine.TestCase
TestMaintenanceMachine.settings = SETTINGS

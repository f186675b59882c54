"""Any order of appends, copies, refusals, rivals and reopenings, against a model of thirty lines."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import eventlake as el
from eventlake import lake as lake_module
from eventlake.errors import InvalidEventsError
from eventlake.storage import MemoryStorage
from eventlake.testing.strategies import stored_events
from tests.scope import examples
from tests.support import naive
from tests.support.events import FORMATS, moment, rows_of

MINUTE = 60_000_000


class LakeMachine(RuleBasedStateMachine):
    """A lake, a second handle on it, and the rows that both must show."""

    @initialize()
    def create(self):
        self.now = 1_700_000_000_000_000
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(lake_module, "_now", lambda: self.now)
        self.storage = MemoryStorage()
        self.lakes = [el.create(self.storage, "o"), el.open(self.storage)]
        self.history = []
        self.clock = []
        self.checkpoints = []

    def teardown(self):
        self.patch.undo()

    def fresh(self, batch):
        known = {(model["source"], model["id"]) for model in self.history}
        return [model for model in batch if (model["source"], model["id"]) not in known]

    def expect(self, receipt, batch, clock):
        assert (receipt.start, receipt.stop) == (len(self.history), len(self.history) + len(batch))
        self.history += batch
        self.clock += clock
        assert receipt.checkpoint == el.Checkpoint("o", len(self.history), naive.root(self.history))
        self.checkpoints.append(receipt.checkpoint)

    @rule(
        batch=stored_events(max_size=4),
        form=st.sampled_from(["dicts", "arrow", "polars", "pandas"]),
        who=st.integers(0, 1),
    )
    def append(self, batch, form, who):
        batch = self.fresh(batch)
        recorded = max([self.now, *self.clock[-1:]])
        self.expect(self.lakes[who].append(FORMATS[form](batch)), batch, [recorded] * len(batch))

    @rule(batch=stored_events(max_size=4), step=st.integers(0, 3), who=st.integers(0, 1))
    def copy(self, batch, step, who):
        batch = self.fresh(batch)
        begin = self.clock[-1] if self.clock else self.now
        stamps = [begin + step * n for n in range(len(batch))]
        self.expect(
            self.lakes[who].append(FORMATS["arrow"](batch, recorded_at=stamps)), batch, stamps
        )

    @rule(batch=stored_events(min_size=1, max_size=3), who=st.integers(0, 1))
    def refuse(self, batch, who):
        bad = [*self.fresh(batch), {"id": "bad", "source": "s", "type": "events"}]
        with pytest.raises(InvalidEventsError):
            self.lakes[who].append(bad)

    @rule(data=st.data(), who=st.integers(0, 1))
    def repeat(self, data, who):
        if self.history:
            model = data.draw(st.sampled_from(self.history))
            with pytest.raises(InvalidEventsError, match="in the lake already"):
                self.lakes[who].append([{name: model[name] for name in ("id", "source", "type")}])

    @rule(minutes=st.integers(-3, 60))
    def wait(self, minutes):
        self.now = max(
            self.now + minutes * MINUTE, *(value - 2 * MINUTE for value in [0, *self.clock[-1:]])
        )

    @rule(who=st.integers(0, 1))
    def reopen(self, who):
        self.lakes[who] = el.open(self.storage)

    @rule(data=st.data())
    def look_back(self, data):
        if self.history:
            instant = data.draw(st.sampled_from(self.clock))
            snapshot = self.lakes[0].snapshot(moment(instant))
            assert snapshot.watermark == sum(value < instant for value in self.clock)

    @rule()
    def verify(self):
        report = self.lakes[0].verify(
            deep=True, against=self.checkpoints[0] if self.checkpoints else None
        )
        assert (report.problems, report.notes) == ((), ())

    @invariant()
    def both_handles_show_the_model(self):
        if not hasattr(self, "lakes"):
            return
        expected = [
            naive.read_row(n, *pair)
            for n, pair in enumerate(zip(self.history, self.clock, strict=True))
        ]
        for lake in self.lakes:
            snapshot = lake.snapshot()
            assert snapshot.checkpoint == el.Checkpoint(
                "o", len(self.history), naive.root(self.history)
            )
            assert rows_of(snapshot.scan().collect()) == expected


TestLakeMachine = LakeMachine.TestCase
TestLakeMachine.settings = settings(
    max_examples=examples(25), stateful_step_count=12, deadline=None
)

"""A seeded simulator of a small consumer lender: the events that its systems would record.

There are three sources: originations (``loan.applied``, ``loan.granted`` or ``loan.declined``,
``instalment.scheduled``), the bank file (``payment.received``) and collections
(``payment.missed``, ``reminder.sent``, ``loan.written_off``, ``loan.repaid``). The borrower's
actions are random; the lender's follow from what the lender had *recorded* by then. The bank makes
mistakes: some payments arrive days late, some lose a digit and are replaced by a later event, some
arrive twice until the second one is retracted.

Invariants: the same arguments give the same bytes on every platform and Python version. So
every draw is ``random()`` scaled to an integer, money is integer cents, instants are integer
microseconds since the epoch, and nothing reads a clock, a locale or a maths library.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from operator import attrgetter

import pyarrow as pa

from eventlake.demo.lender_events import Event, EventFactory, event_table, fraction, money

APPLICATIONS = (date(2024, 1, 1), date(2026, 1, 1))
"""The days on which loans are applied for: a half-open interval."""
HISTORY_END = date(2026, 5, 1)
"""Events recorded from 00:00 UTC of this day on are omitted, so the newest loans are unfinished."""
LOANS_MAX = 1_000_000
"""Exclusive upper bound of ``loans``: loan numbers have six digits."""

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
EPOCH = date(1970, 1, 1).toordinal()

# Parameters of the simulation; days count from an instalment's due day.
SCORE_MAX = 620
TERMS_MONTHS = (6, 12, 12, 18)
HARDSHIP_STAYS_PER_MILLE = 620
MISSED_AFTER_DAYS = 7
REMINDERS_AFTER_DAYS = (8, 21)
WRITTEN_OFF_AFTER_DAYS = 90
CATCH_UP_MONTHS = 3
LATE_PER_MILLE = 20
WRONG_PER_MILLE = 12
TWICE_PER_MILLE = 8


@dataclass(frozen=True, slots=True)
class Instalment:
    """One amount owed from 00:00 UTC of ``due_day``, in days since the epoch."""

    number: int
    due_day: int
    cents: int


@dataclass(frozen=True, slots=True)
class Payment:
    """Money for one instalment, paid at ``time`` and reported by the bank at ``recorded_at``.

    If the bank is wrong, it reports ``reported_cents`` first and ``cents`` at ``corrected_at``. A
    payment of 0 cents was never made and is retracted then.
    """

    instalment: int
    cents: int
    time: int
    recorded_at: int
    reported_cents: int
    corrected_at: int | None = None

    def known(self, at: int) -> int:
        """The amount in cents according to the lender's records before ``at``."""
        if self.recorded_at >= at:
            return 0
        corrected = self.corrected_at is not None and self.corrected_at < at
        return self.cents if corrected else self.reported_cents


class Dice:
    """Integer draws from ``random()``, the one method whose values Python guarantees."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - a simulation, no secret

    def below(self, bound: int) -> int:
        """Draw from ``[0, bound)``."""
        return int(self._random() * bound)

    def between(self, low: int, high: int) -> int:
        """Draw from ``[low, high]``."""
        return low + self.below(high - low + 1)

    def chance(self, per_mille: int) -> bool:
        """Return True ``per_mille`` times in a thousand."""
        return self.below(1000) < per_mille

    def pick(self, choices: Sequence[str]) -> str:
        """Draw one of the choices with equal probability."""
        return choices[self.below(len(choices))]


def simulate(loans: int = 1_500, seed: int = 7) -> pa.Table:
    """Simulate the history of a lender from 2024-01-01 up to ``HISTORY_END``.

    Args:
        loans: Number of applications, 0 to 999,999, spread evenly over 2024 and 2025.
        seed: Selects the history. The sign is ignored, as ``random.Random`` does.

    Returns:
        Columns ``id``, ``source``, ``type``, ``subject``, ``data`` (a JSON object), ``corrects``,
        ``correction``: utf8; ``time`` and ``recorded_at``: timestamp[us, UTC],
        ``time <= recorded_at``. Only ``corrects`` and ``correction`` contain nulls. ``id`` is
        unique. Ordered by ``recorded_at``, then ``time``, then loan number, then the order of the
        loan's own events (granted before its instalments, a payment of the oldest instalment
        first).

    Raises:
        ValueError: ``loans`` is negative or needs more than six digits.
    """
    if not 0 <= loans < LOANS_MAX:
        raise ValueError(f"expected 0 to {LOANS_MAX - 1} loans, found {loans}")
    dice = Dice(seed)
    first, last = (_days(day) * DAY // SECOND for day in APPLICATIONS)
    applied = sorted((first + dice.below(last - first)) * SECOND for _ in range(loans))
    end = _days(HISTORY_END) * DAY
    events = [
        event
        for number, time in enumerate(applied, 1)
        for event in _loan(dice, number, time)
        if event.recorded_at < end
    ]
    # The sort is stable, and the loans come in the order of their numbers.
    events.sort(key=attrgetter("recorded_at", "time"))
    return event_table(events)


def _loan(dice: Dice, number: int, applied: int) -> Iterator[Event]:
    """The events of one loan from application to its end; may run past ``HISTORY_END``."""
    event = EventFactory(number)
    # The product of two draws: most borrowers have a low risk.
    risk = 1000 * dice.below(1000) * dice.below(1000) // 1_000_000
    principal = 100_00 * dice.between(5, 60)
    months = TERMS_MONTHS[dice.below(len(TERMS_MONTHS))]
    purpose = dice.pick(("car", "home", "holiday", "education", "other"))
    data = f'{{"principal":{money(principal)},"term_months":{months},"purpose":"{purpose}"}}'
    yield event("loan.applied", "applied", applied, _soon(dice, applied), data)

    # The lender sees the risk only through a noisy score, and sets the price by it.
    score = risk + dice.between(-150, 150)
    decided = applied + dice.between(2 * HOUR // SECOND, 2 * DAY // SECOND) * SECOND
    recorded = _soon(dice, decided)
    if score > SCORE_MAX:
        reason = '{"reason":"score"}'
        yield event("loan.declined", "declined", decided, recorded, reason)
        return
    rate = 490 + 10 * max(0, score // 5)
    interest = principal * rate * months // (12 * 10_000)
    data = (
        f'{{"principal":{money(principal)},"term_months":{months},'
        f'"rate":{fraction(rate)},"interest":{money(interest)}}}'
    )
    yield event("loan.granted", "granted", decided, recorded, data)
    plan = _schedule(decided, principal + interest, months)
    for owed in plan:
        name = f"instalment-{owed.number}"
        data = f"{{{_owed(owed)}}}"
        yield event("instalment.scheduled", name, decided, recorded, data)
    payments = sorted(_payments(dice, risk, plan), key=attrgetter("time"))
    yield from _service(dice, event, plan, payments)


def _payments(dice: Dice, risk: int, plan: Sequence[Instalment]) -> Iterator[Payment]:
    """Draw the borrower's payments; their sum never exceeds an instalment's amount.

    Hardship makes the past predict the future: it begins more often at a higher risk (0 to 999) and
    lasts for some months. Outside hardship, all arrears are paid with the instalment; inside it, an
    instalment is missed, paid in part, or paid late.
    """
    arrears: list[tuple[int, int]] = []
    hardship = False
    # After the last instalment the borrower still has a few months to pay what is left.
    end = plan[-1].due_day
    extra = [Instalment(0, end + 30 * month, 0) for month in range(1, CATCH_UP_MONTHS + 1)]
    for owed in (*plan, *extra):
        if owed.cents:
            arrears.append((owed.number, owed.cents))
        hardship = dice.chance(HARDSHIP_STAYS_PER_MILLE if hardship else risk // 4)
        if not arrears or (hardship and dice.chance(450)):
            continue
        if not hardship:
            days = dice.between(1, 12) if dice.chance(40 + risk // 2) else dice.between(-2, 2)
            paying, arrears = arrears, []
        elif dice.chance(500):
            days = dice.between(0, 10)
            number, cents = arrears[0]
            part = cents * dice.between(20, 80) // 100
            paying, arrears[0] = [(number, part)], (number, cents - part)
        else:
            days = dice.between(8, 28)
            paying = [arrears.pop(0)]
        time = (owed.due_day + days) * DAY + dice.between(6 * 3_600, 20 * 3_600) * SECOND
        recorded = _bank_file(time)
        if dice.chance(LATE_PER_MILLE):
            recorded = _bank_file(recorded + dice.between(3, 25) * DAY)
        for number, cents in paying:
            if cents:
                yield from _reported(dice, Payment(number, cents, time, recorded, cents))


def _reported(dice: Dice, payment: Payment) -> Iterator[Payment]:
    """A payment as the bank reports it: correctly, with a digit lost, or twice."""
    corrected = _bank_file(payment.recorded_at + dice.between(1, 12) * DAY)
    if dice.chance(WRONG_PER_MILLE):
        yield replace(payment, reported_cents=payment.cents // 10, corrected_at=corrected)
        return
    yield payment
    if dice.chance(TWICE_PER_MILLE):
        yield replace(payment, cents=0, corrected_at=corrected)


def _service(
    dice: Dice, event: EventFactory, plan: Sequence[Instalment], payments: Sequence[Payment]
) -> Iterator[Event]:
    """What the lender records and does, up to the repayment or the write-off."""
    end = _write_off(plan, payments)
    kept = [payment for payment in payments if end is None or payment.time < end]
    for count, payment in enumerate(kept, 1):
        yield from _payment(event, f"payment-{count}", payment)
    for owed in plan:
        yield from _chase(dice, event, owed, kept, end)
    left = sum(owed.cents for owed in plan) - sum(payment.cents for payment in kept)
    if end is not None:
        data = f'{{"outstanding":{money(left)}}}'
        yield event("loan.written_off", "written-off", end, _soon(dice, end), data)
    elif left == 0:
        # The lender knows that a loan is repaid once the last payment is recorded correctly.
        time = max(payment.corrected_at or payment.recorded_at for payment in kept)
        data = f'{{"paid":{money(sum(payment.cents for payment in kept))}}}'
        yield event("loan.repaid", "repaid", time, _soon(dice, time), data)


def _payment(event: EventFactory, name: str, payment: Payment) -> Iterator[Event]:
    """A payment, and its correction if the bank reported it wrongly."""

    def data(cents: int) -> str:
        return f'{{"instalment":{payment.instalment},"amount":{money(cents)}}}'

    first = event(
        "payment.received", name, payment.time, payment.recorded_at, data(payment.reported_cents)
    )
    yield first
    if payment.corrected_at is not None:
        corrected = data(payment.cents or payment.reported_cents)
        correction = "replace" if payment.cents else "retract"
        second = event(
            "payment.received",
            f"{name}-{correction}",
            payment.time,
            payment.corrected_at,
            corrected,
        )
        yield replace(second, corrects=first.id, correction=correction)


def _chase(
    dice: Dice,
    event: EventFactory,
    owed: Instalment,
    payments: Sequence[Payment],
    end: int | None,
) -> Iterator[Event]:
    """The missed payment of an instalment, and the reminders while it stays unpaid."""
    missed = (owed.due_day + MISSED_AFTER_DAYS) * DAY + 5 * HOUR
    if not _short(payments, owed, missed) or (end is not None and missed >= end):
        return
    received = money(_received(payments, owed, missed))
    data = f'{{{_owed(owed)},"received":{received}}}'
    name = f"missed-{owed.number}"
    yield event("payment.missed", name, missed, _soon(dice, missed), data)
    for level, days in enumerate(REMINDERS_AFTER_DAYS, 1):
        sent = (owed.due_day + days) * DAY + dice.between(9 * 3_600, 16 * 3_600) * SECOND
        if not _short(payments, owed, sent) or (end is not None and sent >= end):
            return
        channel = dice.pick(("email", "letter", "phone"))
        data = f'{{"instalment":{owed.number},"level":{level},"channel":"{channel}"}}'
        name = f"reminder-{owed.number}-{level}"
        yield event("reminder.sent", name, sent, _soon(dice, sent), data)


def _write_off(plan: Sequence[Instalment], payments: Sequence[Payment]) -> int | None:
    """When the loan is written off; None if no instalment stays unpaid for so long."""
    for owed in plan:
        time = (owed.due_day + WRITTEN_OFF_AFTER_DAYS) * DAY + 4 * HOUR
        if _short(payments, owed, time):
            return time
    return None


def _short(payments: Sequence[Payment], owed: Instalment, at: int) -> bool:
    """Whether an instalment is not fully paid according to the lender's records before ``at``."""
    return _received(payments, owed, at) < owed.cents


def _received(payments: Sequence[Payment], owed: Instalment, at: int) -> int:
    return sum(payment.known(at) for payment in payments if payment.instalment == owed.number)


def _schedule(granted: int, total: int, months: int) -> list[Instalment]:
    """Split the total into monthly instalments; the last one gets the remaining cents."""
    day = date.fromordinal(EPOCH + granted // DAY)
    each = total // months
    plan = []
    for number in range(1, months + 1):
        year, month = divmod(day.year * 12 + day.month - 1 + number, 12)
        # Every month has a 28th, so the due day of a loan never moves.
        due = date(year, month + 1, min(day.day, 28))
        cents = each if number < months else total - each * (months - 1)
        plan.append(Instalment(number, _days(due), cents))
    return plan


def _bank_file(time: int) -> int:
    """When the bank reports a payment: at 23:15 of its day, or of Monday after a weekend."""
    day = time // DAY
    # Day 0 of the epoch was a Thursday; the days to wait are listed from Monday on.
    until_file = (0, 0, 0, 0, 0, 2, 1)[(day + 3) % 7]
    return (day + until_file) * DAY + 23 * HOUR + 900 * SECOND


def _soon(dice: Dice, time: int) -> int:
    return time + dice.between(1, 90) * SECOND


def _days(day: date) -> int:
    return day.toordinal() - EPOCH


def _owed(owed: Instalment) -> str:
    due = date.fromordinal(EPOCH + owed.due_day).isoformat()
    return f'"instalment":{owed.number},"due":"{due}","amount":{money(owed.cents)}'

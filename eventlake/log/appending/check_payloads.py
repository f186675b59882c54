"""Check payloads against their schemas, and corrections against the events that they name."""

from collections.abc import Sequence

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.log.appending.check_corrections import correction_problems
from eventlake.log.appending.duplicates import IN_THE_LAKE
from eventlake.log.chain.chain import Chain
from eventlake.schemas.validate import schema_problems

_CORRECT = "correct the rows and append the batch again."


def content_problems(chain: Chain, batch: Batch) -> list[Problem]:
    """The payloads that break their schema and the corrections that name no suitable event.

    Rows are those of the batch as it was given.
    """
    return [*payload_problems(chain, batch), *correction_problems(chain, batch)]


def payload_problems(chain: Chain, batch: Batch) -> list[Problem]:
    """The payloads that do not match the newest schema of their type."""
    return schema_problems(batch, chain.catalogue(), strict=chain.strict)


def hint_for(problems: Sequence[Problem]) -> str:
    """The hint for these problems."""
    # Only duplicates: the caller need not correct anything, just leave rows out.
    return IN_THE_LAKE if all(problem.field == "id" for problem in problems) else _CORRECT

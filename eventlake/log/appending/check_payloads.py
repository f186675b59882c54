"""What a batch must be beside well-formed: payloads that fit their schemas, and corrections that correct something."""

from collections.abc import Sequence

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.log.appending.check_corrections import correction_problems
from eventlake.log.appending.duplicates import IN_THE_LAKE
from eventlake.log.chain.chain import Chain
from eventlake.schemas.validate import schema_problems

_CORRECT = "correct the rows and append the batch again."


def meaning_problems(chain: Chain, batch: Batch) -> list[Problem]:
    """Every payload that does not fit its schema, and every correction of nothing, by the batch's rows as they were given."""
    return [*payload_problems(chain, batch), *correction_problems(chain, batch)]


def payload_problems(chain: Chain, batch: Batch) -> list[Problem]:
    """Every payload that does not fit the newest schema of its type."""
    return schema_problems(batch, chain.catalogue(), strict=chain.strict)


def hint_for(problems: Sequence[Problem]) -> str:
    """What to do about them."""
    return IN_THE_LAKE if all(problem.field == "id" for problem in problems) else _CORRECT

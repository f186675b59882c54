"""``eventlake datasets rm``, and how a command of two words is found."""

from typing import Annotated, Any

import typer

import eventlake.lake as lakes
from eventlake.cli import documents, output
from eventlake.cli.entry import Commands
from eventlake.cli.options import JsonOption, LakeArgument, TrustOption
from eventlake.log.maintaining.garbage import Garbage


class TwoWords(Commands):
    """A group in which a command may be called ``datasets rm`` beside one that is called ``datasets``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, by two words if there is one."""
        both = " ".join(args[:2])
        return super().resolve_command(
            ctx, [both, *args[2:]] if len(args) > 1 and self.get_command(ctx, both) else args
        )


def remove(
    lake: LakeArgument,
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="HASH...", help="The datasets: at least 6 hex digits of a hash each."
        ),
    ],
    *,
    trust_in: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove datasets with all their files; refused while a tag, a dataset.lock or a recorded prediction names them."""
    opened = lakes.open(lake, trust=trust_in)
    with output.progress():
        removed = [
            file for reference in references for file in opened.remove_dataset(reference).files
        ]
    found = Garbage(tuple(removed), deleted=True)
    output.show(found.card(), documents.garbage(found), as_json=as_json)

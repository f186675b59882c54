"""From arguments to an exit code: errors become messages, and the process ends without the libraries' threads."""

import atexit
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from eventlake.cli import output
from eventlake.cli.stopping import Stopped, stoppable
from eventlake.datasets.building.build_once import give_up_claims
from eventlake.errors import EventlakeError, InvalidInputError, StorageError
from eventlake.memory import bound_memory, out_of_memory
from eventlake.visible import safe

USAGE = 2


class OutputClosedError(Exception):
    """Nobody reads the output any more."""


class Commands(TyperGroup):
    """All commands."""

    def invoke(self, ctx: Any) -> Any:
        """Runs one. A closed pipe and Ctrl-C are told apart here: typer would end with 1 and with silence."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosedError from error
        except KeyboardInterrupt:
            raise Stopped(signal.SIGINT) from None


def end(app: typer.Typer, arguments: list[str] | None) -> NoReturn:
    """Runs a command and ends with its exit code: the process, if the arguments are not given but its own."""
    given = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    code = _run(app, given, alone=arguments is None)
    if arguments is None:
        _leave(code)
    sys.exit(code)


def _open_streams() -> None:
    """Gives a process that was started without standard output or error streams that nobody reads; the others write UTF-8.

    Under another encoding, such as ASCII in the C locale, a command would fail at its last word,
    with its work done.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the process ends
        elif (
            isinstance(stream := getattr(sys, name), io.TextIOWrapper)
            and stream.encoding.lower() != "utf-8"
        ):
            stream.reconfigure(encoding="utf-8")


def standard_input(most_bytes: int | None = None) -> bytes:
    """What is on standard input.

    Args:
        most_bytes: More is refused, and not read; None for data of any length.

    Raises:
        InvalidInputError: There is none: a process was started with it closed, and that is not the
            same as no data. Or there is too much.
    """
    if sys.stdin is None:
        message = "expected data on standard input, which is closed"
        raise InvalidInputError(message, "give a file, or /dev/null for no data.")
    if most_bytes is None:
        return sys.stdin.buffer.read()
    if len(data := sys.stdin.buffer.read(most_bytes + 1)) > most_bytes:
        message = f"expected at most {most_bytes:,} bytes on standard input, found more"
        raise InvalidInputError(message)
    return data


def _run(app: typer.Typer, given: list[str], *, alone: bool) -> int:
    """Runs a command; ``alone`` if the process is its own, so that its memory can be bounded."""
    as_json = "--json" in given
    try:
        if alone:
            bound_memory()
        with stoppable(lambda stopped: output.error_text("stopped", str(stopped), as_json=as_json)):
            ended = app(given, prog_name="eventlake", standalone_mode=False)
            sys.stdout.flush()
    except EventlakeError as error:
        return output.report(error, as_json=as_json)
    except TyperException as error:
        return _usage(error, as_json=as_json)
    except Stopped as stopped:
        give_up_claims()
        sys.stderr.write(output.error_text("stopped", str(stopped), as_json=as_json))
        return stopped.exit_code
    except (OutputClosedError, BrokenPipeError):
        # Whoever read the output has seen enough. What is buffered must not fail once more when the
        # process ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError) as error:
        return output.report(_failure(error), as_json=as_json)
    return ended if isinstance(ended, int) else 0


def _failure(error: OSError | MemoryError) -> StorageError:
    """What the machine refused, as an error of the library."""
    if isinstance(error, OSError):
        return StorageError(
            f"could not use {error.filename or 'the output'}: {error.strerror}", errno=error.errno
        )
    return out_of_memory("the command")


def _usage(error: TyperException, *, as_json: bool) -> int:
    """Says what is wrong with the arguments."""
    context, message = getattr(error, "ctx", None), error.format_message()
    asked = "eventlake" if context is None else context.command_path
    if as_json:
        sys.stderr.write(
            output.error_text(
                "usage", message, f"'{asked} --help' lists what it takes.", as_json=True
            )
        )
    else:
        usage = (
            []
            if context is None or message.startswith("Usage")
            else [context.get_usage(), f"Try '{asked} --help' for help.", ""]
        )
        sys.stderr.write(
            safe("\n".join([*usage, f"Error: {message}" if usage else message])) + "\n"
        )
    return int(getattr(error, "exit_code", USAGE))


def _leave(code: int) -> NoReturn:
    """Ends the process with a code that stays what it is.

    Threads of the libraries are not waited for: while a loaded machine takes an interpreter down,
    some of them are still running, and the C++ runtime ends the process with SIGABRT. What Python
    was asked to do at exit is done.
    """
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as the interpreter does first
    with suppress(Exception):
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)

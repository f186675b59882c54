"""Run a command and turn its outcome, including every error, into an exit code."""

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

from eventlake.cleanup import clean_up
from eventlake.cli import output
from eventlake.cli.stopping import Stopped, stoppable
from eventlake.errors import EventlakeError, InvalidInputError, StorageError
from eventlake.memory import bound_memory, out_of_memory
from eventlake.visible import safe

USAGE = 2


class OutputClosedError(Exception):
    """The reader of a pipe closed it."""


class Commands(TyperGroup):
    """The group of all commands; a command's name may have two words, such as ``datasets rm``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command by its first two words if there is one, else by the first."""
        two_words = " ".join(args[:2])
        if len(args) > 1 and self.get_command(ctx, two_words):
            args = [two_words, *args[2:]]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; report a closed pipe and Ctrl-C as exceptions of their own."""
        # typer would end both with exit code 1 and no message.
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosedError from error
        except KeyboardInterrupt:
            raise Stopped(signal.SIGINT) from None


def end(app: typer.Typer, arguments: list[str] | None) -> NoReturn:
    """Run a command and exit with its code.

    Args:
        app: The application.
        arguments: Defaults to the arguments of the process, which then belongs to the command:
            its memory is limited, and its native threads are not waited for.
    """
    owns_process = arguments is None
    _open_streams()
    code = _run(app, sys.argv[1:] if arguments is None else arguments, owns_process=owns_process)
    if owns_process:
        _leave(code)
    sys.exit(code)


def _open_streams() -> None:
    """Make sure that standard output and error exist and take UTF-8.

    Under another encoding, such as ASCII in the C locale, a command would fail when it prints its
    result, after its work is done.
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
    """Read standard input.

    Args:
        most_bytes: Maximum size; None for no limit.

    Raises:
        InvalidInputError: Standard input is closed, which is different from empty, or has more
            than ``most_bytes``.
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


def _run(app: typer.Typer, arguments: list[str], *, owns_process: bool) -> int:
    # Read by hand, because errors may occur before the arguments are parsed.
    as_json = "--json" in arguments
    try:
        if owns_process:
            bound_memory()
        with stoppable(lambda stopped: output.error_text("stopped", str(stopped), as_json=as_json)):
            result = app(arguments, prog_name="eventlake", standalone_mode=False)
            # A full disk or a closed pipe must be met here, where it still becomes an exit code.
            sys.stdout.flush()
    except EventlakeError as error:
        return output.report(error, as_json=as_json)
    except TyperException as error:
        return _usage(error, as_json=as_json)
    except Stopped as stopped:
        clean_up()
        sys.stderr.write(output.error_text("stopped", str(stopped), as_json=as_json))
        return stopped.exit_code
    except (OutputClosedError, BrokenPipeError):
        # The reader has seen enough, as with `| head`. Buffered output goes to the null device, so
        # that it does not fail again at exit.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError) as error:
        return output.report(_failure(error), as_json=as_json)
    return result if isinstance(result, int) else 0


def _failure(error: OSError | MemoryError) -> StorageError:
    if isinstance(error, OSError):
        return StorageError(
            f"could not use {error.filename or 'the output'}: {error.strerror}", errno=error.errno
        )
    return out_of_memory("the command")


def _usage(error: TyperException, *, as_json: bool) -> int:
    """Print what is wrong with the arguments, and return the exit code."""
    context, message = getattr(error, "ctx", None), error.format_message()
    command = "eventlake" if context is None else context.command_path
    if as_json:
        hint = f"'{command} --help' lists the arguments."
        text = output.error_text("usage", message, hint, as_json=True)
    elif context is None or message.startswith("Usage"):
        text = safe(message) + "\n"
    else:
        usage = [context.get_usage(), f"Try '{command} --help' for help.", ""]
        text = safe("\n".join([*usage, f"Error: {message}"])) + "\n"
    sys.stderr.write(text)
    return int(getattr(error, "exit_code", USAGE))


def _leave(code: int) -> NoReturn:
    """End the process with exactly this exit code.

    Native threads of the libraries are not waited for: some of them may still run while the
    interpreter shuts down, and the C++ runtime then ends the process with SIGABRT. Python's own
    exit handlers run.
    """
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - the interpreter's first step
    with suppress(Exception):
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)

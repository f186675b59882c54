"""The exception tree is a contract: classes, kinds, messages, facts, and their way across a process boundary."""

import copy
import pickle

import pytest

from eventlake import errors
from eventlake.columns.intake.problems import Problem
from eventlake.storage import ObjectExistsError, ObjectMissingError

pytestmark = pytest.mark.every_case

TREE = {
    "EventlakeError": ("Exception", "error"),
    "ConflictError": ("EventlakeError", "conflict"),
    "CommitUnknownError": ("EventlakeError", "commit-unknown"),
    "NotFoundError": ("EventlakeError KeyError", "not-found"),
    "AlreadyExistsError": ("EventlakeError", "already-exists"),
    "InvalidInputError": ("EventlakeError ValueError", "invalid-input"),
    "InvalidEventsError": ("InvalidInputError", "invalid-events"),
    "InvalidProjectionError": ("InvalidInputError", "invalid-projection"),
    "SchemaMismatchError": ("InvalidInputError", "schema-mismatch"),
    "UnsupportedOperationError": ("InvalidInputError TypeError", "unsupported-operation"),
    "CorruptionError": ("EventlakeError", "corruption"),
    "UnsupportedFormatError": ("EventlakeError", "unsupported-format"),
    "MissingDependencyError": ("EventlakeError", "missing-dependency"),
    "ForkedProcessError": ("EventlakeError", "forked-process"),
    "StorageError": ("EventlakeError", "storage"),
    "NotIdenticalError": ("EventlakeError", "not-identical"),
}
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
}


def test_the_tree_has_exactly_these_classes_and_kinds():
    found = {
        name: (" ".join(base.__name__ for base in cls.__bases__), cls.kind)
        for name, cls in CLASSES.items()
    }
    assert found == TREE


def test_the_module_draws_every_class_of_its_tree():
    assert all(name in errors.__doc__ for name in CLASSES)


def test_the_storage_port_refines_the_tree_with_kinds_of_its_own():
    assert (ObjectExistsError.__bases__, ObjectExistsError.kind) == (
        (errors.AlreadyExistsError,),
        "object-exists",
    )
    assert (ObjectMissingError.__bases__, ObjectMissingError.kind) == (
        (errors.NotFoundError,),
        "object-missing",
    )


def made(cls):
    if cls is errors.InvalidEventsError:
        return cls([Problem(3, "time", "expected a zone", "2026")], "add Z", batch=7)
    return cls("expected 1, found 2", "look again", path="log/1", expected=1, found=2)


@pytest.mark.parametrize(
    "cls", [*CLASSES.values(), ObjectExistsError, ObjectMissingError], ids=lambda cls: cls.__name__
)
@pytest.mark.parametrize(
    "copied",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],  # noqa: S301
    ids=["pickle", "copy", "deepcopy"],
)
def test_an_error_crosses_a_process_boundary_with_its_facts(cls, copied):
    error = made(cls)
    again = copied(error)
    assert type(again) is cls
    assert (again.message, again.hint, again.facts, again.kind) == (
        error.message,
        error.hint,
        error.facts,
        cls.kind,
    )
    assert again.args == error.args
    assert str(again) == str(error)
    assert getattr(again, "problems", None) == getattr(error, "problems", None)


def test_the_hint_stands_on_a_line_of_its_own():
    assert (
        str(errors.ConflictError("expected 1, found 2", "retry"))
        == "expected 1, found 2\n\nHint: retry"
    )
    assert str(errors.ConflictError("expected 1, found 2")) == "expected 1, found 2"


def test_a_not_found_error_is_a_key_error_whose_text_is_not_quoted():
    error = errors.NotFoundError("there is no lake in 'x'", "make one")
    assert isinstance(error, KeyError)
    assert str(error) == "there is no lake in 'x'\n\nHint: make one"


def test_an_invalid_events_error_shows_ten_problems_and_holds_all():
    problems = [Problem(row, "id", "required, but null or missing") for row in range(25)]
    error = errors.InvalidEventsError(problems)
    assert error.problems == tuple(problems)
    assert str(error).startswith(
        "25 problems in the batch, nothing was appended:\n  row 0, field id: required"
    )
    assert "row 9, field id" in str(error)
    assert "row 10, field id" not in str(error)
    assert "and 15 more" in str(error)


def test_one_problem_is_told_in_the_singular():
    assert str(errors.InvalidEventsError([Problem(None, "x", "expected y")])).startswith(
        "1 problem in the batch"
    )


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem(1_234, "time", "expected a zone", "2026"),
            "row 1,234, field time: expected a zone, found '2026'",
        ),
        (Problem(None, "tpye", "expected one of id"), "column tpye: expected one of id"),
        (
            Problem(0, "data", "expected JSON", "x" * 500),
            "row 0, field data: expected JSON, found '" + "x" * 58 + "…",
        ),
    ],
    ids=["row", "column", "long value"],
)
def test_a_problem_names_row_field_what_was_expected_and_what_was_found(problem, text):
    assert str(problem) == text

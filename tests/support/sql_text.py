"""Where the package makes SQL text, and what it puts into it that is neither written in its source nor spelled by a quoting function.

A module makes SQL if it imports duckdb or a function that spells SQL, or runs something on a
database. In such a module every composed text that is no message is SQL: f-strings, ``+``, ``%``,
``format``, ``replace`` and ``join``. A value in it is followed to where it comes from: through
variables, containers, parameters (to every call in the package) and returned values. It is sound if
it is a literal, or made by one of ``QUOTING`` or ``CHECKING``. What is not is a *place*, told by
where it stands: ``module::function::expression``.
"""

import ast
from collections import defaultdict
from dataclasses import dataclass, field

QUOTING = frozenset({"identifier", "integer", "quoted"})
CHECKING = frozenset({"check_select"})
"""Functions that give a query which only reads, or refuse it."""
SINKS = frozenset({"execute", "executemany", "extract_statements", "query", "sql"})
SPELLING = frozenset({"identifier", "integer", "open_database", "parquet", "quoted"})
PROSE = frozenset({"hint", "message", "title"})
SAYING = ("Error", "Problem", "Refusal", "Wrong", "counted", "refuse", "task", "warn")
SHOWING = frozenset({"__repr__", "card", "document"})
_OF_CONTAINERS = frozenset(
    {
        "add",
        "append",
        "copy",
        "extend",
        "pop",
        "read",
        "replace",
        "rows",
        "to_arrow",
        "update",
        "with_columns",
    }
)
"""Methods of so many things that a function of that name says nothing."""
_WHOLE = frozenset(
    {"enumerate", "filter", "frozenset", "iter", "list", "reversed", "set", "sorted", "tuple"}
)
"""Functions that give what they are given."""


@dataclass
class Module:
    """A parsed module."""

    name: str
    tree: ast.Module
    parents: dict = field(default_factory=dict)
    functions: dict = field(default_factory=dict)
    constants: dict = field(default_factory=dict)
    imports: dict = field(default_factory=dict)
    makes_sql: bool = False
    nodes: list = field(default_factory=list)

    @classmethod
    def parsed(cls, name, text):
        module = cls(name, ast.parse(text))
        module.nodes = list(ast.walk(module.tree))
        for node in module.nodes:
            for child in ast.iter_child_nodes(node):
                module.parents[child] = node
            if isinstance(node, ast.FunctionDef):
                module.functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ImportFrom):
                module.imports |= {
                    alias.asname or alias.name: (node.module, alias.name) for alias in node.names
                }
                module.makes_sql |= not SPELLING.isdisjoint(alias.name for alias in node.names)
            elif isinstance(node, ast.Import):
                module.makes_sql |= any(alias.name == "duckdb" for alias in node.names)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in SINKS
            ):
                module.makes_sql = True
        for node in module.tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    for name_, value in _pairs(target, node.value):
                        module.constants[name_] = value
        return module

    def function_of(self, node):
        while node is not None and not isinstance(node, ast.FunctionDef | ast.Lambda):
            node = self.parents.get(node)
        return node

    def where(self, node):
        names = []
        while node is not None:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.append(node.name)
            node = self.parents.get(node)
        return ".".join(reversed(names)) or "<module>"


def _pairs(target, value):
    """Names and the values that they are given; a value that is taken apart is given to each."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        together = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        for number, one in enumerate(target.elts):
            yield from _pairs(one, value.elts[number] if together else value)
    elif isinstance(target, ast.Starred):
        yield from _pairs(target.value, value)


class Scan:
    """All modules of a package, as text by name."""

    def __init__(self, texts):
        self.modules = [Module.parsed(name, text) for name, text in sorted(texts.items())]
        self.calls = defaultdict(list)
        for module in self.modules:
            for node in module.nodes:
                if isinstance(node, ast.Call):
                    self.calls[_called(node)].append((module, node))
                    if (
                        _called(node) == "partial"
                        and node.args
                        and isinstance(node.args[0], ast.Name)
                    ):
                        rest = ast.Call(node.args[0], node.args[1:], node.keywords)
                        self.calls[node.args[0].id].append((module, rest))
        self._known = {}
        self._before = {}
        self._nodes = {}

    def _inside(self, function):
        """The nodes of a function, listed once."""
        if function not in self._nodes:
            self._nodes[function] = list(ast.walk(function))
        return self._nodes[function]

    def places(self):
        """What a person has to look at, sorted."""
        # What is made of itself has the causes that were found the time before: until there are no
        # more.
        before = None
        while True:
            found = self._found()
            real = {
                key: causes
                for module in self.modules
                for key, (node, causes) in self._known.items()
                if node in module.parents
            }
            if real == before:
                return sorted(found)
            before, self._before, self._known = real, self._known, {}

    def _found(self):
        found = set()
        for module in self.modules:
            for node in module.nodes if module.makes_sql else ():
                if not self._is_no_sql(module, node):
                    found = found.union(*(self.causes(module, value) for value in _put_in(node)))
        return found

    def _is_no_sql(self, module, node):
        """Whether it is a part of a message, or of what is quoted or only a name."""
        while node is not None:
            above = module.parents.get(node)
            if isinstance(above, ast.Raise | ast.Assert) or (
                isinstance(above, ast.FunctionDef) and above.name in SHOWING
            ):
                return True
            if isinstance(above, ast.Assign) and any(
                name in PROSE for target in above.targets for name, _ in _pairs(target, above.value)
            ):
                return True
            if isinstance(above, ast.Call) and node is not above.func:
                name = _called(above) or ""
                if name.endswith(SAYING) or name in QUOTING or name in {"register", "unregister"}:
                    return True
            node = above
        return False

    def causes(self, module, node, side="whole"):
        """Where the unsound values come from that a value may hold.

        Args:
            module: Where it stands.
            node: The expression.
            side: ``keys`` or ``values`` of a mapping, ``whole`` of anything else.
        """
        key = (id(node), side)
        if key not in self._known:
            self._known[key] = self._before.get(key, (node, frozenset()))
            self._known[key] = (node, frozenset(self._judged(module, node, side)))
        return self._known[key][1]

    def _judged(self, module, node, side):  # noqa: PLR0912 - one case a kind of expression
        def all_of(*some, side="whole"):
            return set().union(*(self.causes(module, one, side) for one in some))

        match node:
            case ast.Constant() | ast.Compare():
                return set()
            case ast.JoinedStr():
                return all_of(*_put_in(node))
            case ast.IfExp(body=body, orelse=other):
                return all_of(body, other, side=side)
            case ast.BoolOp(values=values):
                return all_of(*values, side=side)
            case ast.UnaryOp(op=ast.Not()):
                return set()
            case ast.BinOp(left=left, op=ast.Mult()) if _is_text(left) or isinstance(
                left, ast.List
            ):
                return all_of(left)
            case ast.BinOp(left=left, right=right):
                return all_of(left, right, side=side)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return all_of(*elements)
            case ast.Starred(value=value) | ast.NamedExpr(value=value):
                return all_of(value, side=side)
            case ast.Dict(keys=keys, values=values):
                spread = [value for name, value in zip(keys, values, strict=True) if name is None]
                own = [
                    (name, value)
                    for name, value in zip(keys, values, strict=True)
                    if name is not None
                ]
                wanted = [
                    one
                    for name, value in own
                    for one in {"keys": [name], "values": [value]}.get(side, [name, value])
                ]
                return all_of(*wanted) | all_of(*spread, side=side)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return all_of(node.elt)
            case ast.DictComp():
                return all_of(
                    *{"keys": [node.key], "values": [node.value]}.get(side, [node.key, node.value])
                )
            case ast.Subscript(value=value):
                return all_of(value, side="values")
            case ast.Call():
                found = self._of_call(module, node, side)
            case ast.Name():
                found = self._of_name(module, node, side)
            case _:
                found = None
        return (
            {f"{module.name}::{module.where(node)}::{ast.unparse(node)}"}
            if found is None
            else found
        )

    def _of_call(self, module, node, side):
        """The causes of what a call gives; None for a call that is one itself."""
        name, given = _called(node), [*node.args, *(keyword.value for keyword in node.keywords)]
        if isinstance(node.func, ast.Name):
            if name in QUOTING | CHECKING or name in {"len", "range"}:
                return set()
            if name == "dict" and node.args:
                return self.causes(module, node.args[0], "whole").union(
                    *(self.causes(module, one.value) for one in node.keywords)
                )
            if name == "map" and len(node.args) > 1:
                return self._of_call(module, ast.Call(node.args[0], node.args[1:], []), side)
            if name in _WHOLE:
                wanted = "keys" if side == "whole" else side
                return set().union(
                    *(
                        self.causes(module, one, wanted if _is_mapping(one) else "whole")
                        for one in node.args
                    )
                )
            return self._of_function(module, name)
        if not isinstance(node.func, ast.Attribute):
            return None
        if name in {"join", "format"} or (name == "replace" and _is_text(node.func.value)):
            return self.causes(module, node.func.value).union(
                *(self.causes(module, one) for one in given)
            )
        if name == "fromkeys":
            return (
                self.causes(module, node.args[0])
                if side != "values"
                else set().union(*(self.causes(module, one) for one in given[1:]))
            )
        if name in {"items", "keys", "values"} and not given:
            return self.causes(module, node.func.value, "whole" if name == "items" else name)
        if name in {"get", "setdefault"}:
            return self.causes(module, node.func.value, "values").union(
                *(self.causes(module, one) for one in node.args[1:])
            )
        if name in {"lower", "strip", "upper"}:
            return self.causes(module, node.func.value)
        return None if name in _OF_CONTAINERS else self._of_function(module, name)

    def _of_function(self, module, name):
        """The causes of what every function gives that a name may mean; None where there is none in a module that makes SQL."""
        found = [(module, one) for one in module.functions.get(name, [])]
        if not found:
            source, original = module.imports.get(name, ("", name))
            found = [
                (other, one)
                for other in self.modules
                if other.makes_sql
                and (other.name == source or other.name.startswith(f"{source}." if source else ""))
                for one in other.functions.get(original, [])
            ]
        if not found or not all(other.makes_sql for other, _ in found):
            return None
        causes = set()
        for other, function in found:
            given = [
                one.value
                for one in self._inside(function)
                if isinstance(one, ast.Return | ast.Yield | ast.YieldFrom) and one.value is not None
            ]
            if not given:
                return None
            causes = causes.union(*(self.causes(other, value) for value in given))
        return causes

    def _of_name(self, module, node, side):
        """The causes of what a name may be given; None for a name that nothing in the package gives."""
        above = node
        while above is not None and not isinstance(above, ast.FunctionDef | ast.Lambda):
            if isinstance(above, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                own = [pair for one in above.generators for pair in _given(one, node.id)]
                if own:
                    return set().union(
                        *(
                            self.causes(module, value, one if one != "same" else side)
                            for value, one in own
                        )
                    )
            above = module.parents.get(above)
        scope = module.function_of(node)
        while scope is not None:
            given = [
                pair
                for one in self._inside(scope)
                if not isinstance(one, ast.comprehension)
                for pair in _given(one, node.id)
            ]
            parameters = [
                one.arg
                for one in (*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs)
            ]
            causes = set().union(
                *(
                    self.causes(module, value, one if one != "same" else side)
                    for value, one in given
                )
            )
            if node.id in parameters:
                passed = self._passed(scope, node.id, side)
                return None if passed is None else causes | passed
            if given:
                return causes
            scope = module.function_of(module.parents.get(scope))
        if node.id in module.constants:
            return self.causes(module, module.constants[node.id], side)
        source, original = module.imports.get(node.id, (None, node.id))
        other = next((one for one in self.modules if one.name == source), None)
        return (
            self.causes(other, other.constants[original], side)
            if other is not None and original in other.constants
            else None
        )

    def _passed(self, function, parameter, side):
        """The causes of what calls in the package give a parameter; None where one of them cannot be followed."""
        if isinstance(function, ast.Lambda) or not self.calls[function.name]:
            return None
        if function.name in CHECKING:
            return set()
        arguments = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        is_method = bool(arguments) and arguments[0] in {"self", "cls"}
        owner = next(
            one.name for one in self.modules if function in one.functions.get(function.name, ())
        )
        causes = set()
        for module, call in self.calls[function.name]:
            source = module.imports.get(function.name, ("",))[0]
            is_ours = function in module.functions.get(function.name, ()) or (
                source and f"{owner}.".startswith(f"{source}.")
            )
            if isinstance(call.func, ast.Name) and not is_ours:
                continue
            if (
                isinstance(call.func, ast.Attribute)
                and not is_method
                and getattr(call.func.value, "id", None) not in module.imports
            ):
                continue
            if not module.makes_sql or function.name in _OF_CONTAINERS:
                return None
            position = (
                arguments.index(parameter) - is_method if parameter in arguments else len(call.args)
            )
            value = next(
                (keyword.value for keyword in call.keywords if keyword.arg == parameter), None
            )
            if value is None and position < len(call.args):
                if any(isinstance(one, ast.Starred) for one in call.args[: position + 1]):
                    return None
                value = call.args[position]
            value = value if value is not None else _default(function, parameter)
            if value is None:
                return None
            causes |= self.causes(module, value, side)
        return causes


def _called(node):
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", None)


def _put_in(node):
    """The values that a composed text, or a database, is given."""
    if isinstance(node, ast.JoinedStr):
        return [value.value for value in node.values if isinstance(value, ast.FormattedValue)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return [node.left, node.right] if _is_text(node) else []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in SINKS:
            return node.args[:1]
        if node.func.attr in {"format", "format_map", "join", "replace"} and _is_text(
            node.func.value
        ):
            return [*node.args, *(keyword.value for keyword in node.keywords)]
    return []


def _given(node, name):
    """What a statement gives a name, and which side of it."""
    pairs = []
    if isinstance(node, ast.Assign):
        pairs = [pair for target in node.targets for pair in _pairs(target, node.value)]
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
        pairs = [*_pairs(node.target, node.value)]
    elif isinstance(node, ast.For | ast.comprehension):
        return [
            (value, side) for given, value, side in _looped(node.target, node.iter) if given == name
        ]
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"add", "append", "extend", "update"}
    ):
        pairs = [pair for one in node.args for pair in _pairs(node.func.value, one)]
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        pairs = [*_pairs(node.optional_vars, node.context_expr)]
    found = [(value, "same") for given, value in pairs if given == name]
    items = [
        one
        for one in getattr(node, "targets", ())
        if isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name)
    ]
    return [
        *found,
        *(
            (ast.Dict([one.slice], [node.value]), "same")
            for one in items
            if isinstance(node, ast.Assign) and one.value.id == name
        ),
    ]


def _looped(target, over):
    """Names of a loop, what they are given, and which side of it; the number of ``enumerate`` is a number."""
    inner = (
        over.args[0]
        if isinstance(over, ast.Call) and _called(over) in _WHOLE and over.args
        else None
    )
    if inner is not None and _called(over) == "enumerate" and isinstance(target, ast.Tuple):
        yield from (
            (name, value, "whole") for name, value in _pairs(target.elts[0], ast.Constant(0))
        )
        yield from _looped(target.elts[1], inner)
    elif inner is not None and _called(over) != "enumerate":
        yield from _looped(target, inner)
    elif isinstance(over, ast.Call) and _called(over) == "items" and isinstance(target, ast.Tuple):
        for one, side in zip(target.elts, ("keys", "values"), strict=True):
            yield from ((name, over.func.value, side) for name, _ in _pairs(one, over))
    elif isinstance(over, ast.List | ast.Tuple | ast.Set):
        for one in over.elts:
            yield from ((name, value, "whole") for name, value in _pairs(target, one))
    else:
        yield from ((name, value, "keys") for name, value in _pairs(target, over))


def _default(function, parameter):
    named = [*function.args.posonlyargs, *function.args.args]
    defaults = dict(
        zip(
            [one.arg for one in named][len(named) - len(function.args.defaults) :],
            function.args.defaults,
            strict=True,
        )
    )
    defaults |= dict(
        zip([one.arg for one in function.args.kwonlyargs], function.args.kw_defaults, strict=True)
    )
    return defaults.get(parameter)


def _is_mapping(node):
    return isinstance(node, ast.Dict | ast.DictComp)


def _is_text(node):
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod | ast.Mult) and (
            _is_text(node.left) or _is_text(node.right)
        )
    return (
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        or (isinstance(node, ast.Name) and node.id.isupper())
    )

"""Which names of TensorRT a source file uses, found by walking its syntax tree, and what is wrong with them.

Types are followed from `trt`, the module, through calls and assignments; parameters and fields that hold something of
TensorRT are known by their names (HELD). What stands in the body of `if hasattr(...)` is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.engines.tensorrt.api_lists import ApiList, Overload

MODULE = "module"
# names of parameters and fields -> what they hold
HELD = {"trt": MODULE, "plan": "ICudaEngine", "runtime": "Runtime", "context": "IExecutionContext"}
HELD |= {"builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser"}
ALWAYS = {"__name__", "__version__"}


@dataclass(frozen=True)
class Kind:
    """What an expression is. sort: "module", "class", "enum", "instance" or "method"; of: the class or enum."""

    sort: str
    of: str = ""
    overloads: tuple[Overload, ...] = ()


@dataclass
class Walker:
    """Walks over one file; `used` are the names found, `wrong` the sentences about those that are not there."""

    api: ApiList
    used: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def walk(self, source: str) -> None:
        tree = ast.parse(source)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self._returns: dict[str, Kind] = {}
        for _ in range(2):  # a function may return what another one of the file returns
            self.used, self.wrong, self._seen = set(), [], set[int]()
            for function in functions:
                self._function(function)

    def _function(self, function: ast.FunctionDef) -> None:
        names = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
        known = {name: self._held(name) for name in names if name in HELD}
        for node in _statements(function.body):
            if isinstance(node, ast.Assign):
                self._assign(node, known)
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
                known.pop(node.target.id, None)
            for child in _expressions(node):
                self._kind(child, known)
            if isinstance(node, ast.Return) and node.value is not None:
                found = self._kind(node.value, known)
                if found is not None:
                    self._returns[function.name] = found

    def _assign(self, node: ast.Assign, known: dict[str, Kind]) -> None:
        target = node.targets[0]
        pairs: list[tuple[ast.expr, ast.expr]] = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=True))
        for place, value in pairs:
            found = self._kind(value, known)
            if isinstance(place, ast.Name):
                known.pop(place.id, None)
                if found is not None:
                    known[place.id] = found
            elif isinstance(place, ast.Attribute):
                owner = self._kind(place.value, known)
                if owner is not None and owner.sort == "instance":
                    self._use(place, owner.of, self.api.classes[owner.of].properties.get(place.attr) == "rw")

    def _held(self, name: str) -> Kind:
        return Kind(MODULE) if HELD[name] == MODULE else Kind("instance", HELD[name])

    def _kind(self, node: ast.AST, known: dict[str, Kind]) -> Kind | None:
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if isinstance(node, ast.IfExp):
            return self._kind(node.body, known) or self._kind(node.orelse, known)
        if isinstance(node, ast.Attribute):
            owner = self._kind(node.value, known)
            if owner is None:
                return self._held(node.attr) if node.attr in HELD else None
            return None if isinstance(node.ctx, ast.Store) else self._attribute(node, owner)
        if isinstance(node, ast.Call):
            return self._call(node, known)
        return None

    def _attribute(self, node: ast.Attribute, owner: Kind) -> Kind | None:
        name = node.attr
        if owner.sort == MODULE:
            sort = "class" if name in self.api.classes else "enum" if name in self.api.enums else ""
            self._use(node, "trt", bool(sort) or name in ALWAYS)
            return Kind(sort, name) if sort else None
        if owner.sort == "enum":
            self._use(node, owner.of, name in self.api.enums[owner.of])
            return None
        if owner.sort not in ("class", "instance"):
            return None
        listed = self.api.classes[owner.of]
        self._use(node, owner.of, name in listed.properties or name in listed.methods)
        return Kind("method", f"{owner.of}.{name}", listed.methods[name]) if name in listed.methods else None

    def _call(self, node: ast.Call, known: dict[str, Kind]) -> Kind | None:
        if isinstance(node.func, ast.Name) and node.func.id not in known:
            return self._returns.get(node.func.id)
        called = self._kind(node.func, known)
        if called is None or called.sort not in ("class", "method"):
            return None
        overloads = called.overloads if called.sort == "method" else ()
        if called.sort == "class":
            overloads = self.api.classes[called.of].methods.get("__init__", ())
        own = isinstance(node.func, ast.Attribute) and node.func.attr == "__init__"  # called with self
        keywords = frozenset(keyword.arg or "" for keyword in node.keywords)
        if not any(overload.takes(len(node.args) - own, keywords) for overload in overloads):
            self._complain(node, f"{called.of} does not take these arguments")
        if called.sort == "class":
            return Kind("instance", called.of)
        results = {overload.returns for overload in overloads} & self.api.classes.keys()
        if "IParserError" in {overload.returns for overload in overloads}:
            results = {"ParserError"}
        return Kind("instance", results.pop()) if len(results) == 1 else None

    def _use(self, node: ast.Attribute, owner: str, there: bool) -> None:
        self.used.add(f"{owner}.{node.attr}")
        if not there:
            self._complain(node, f"no {owner}.{node.attr}")

    def _complain(self, node: ast.expr, text: str) -> None:
        if id(node) not in self._seen:
            self._seen.add(id(node))
            self.wrong.append(f"line {node.lineno}: {text} in TensorRT {self.api.version}")


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements in their order, those within others too, without nested functions and guarded bodies."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            continue
        yield node
        if not (isinstance(node, ast.If) and "hasattr" in ast.unparse(node.test)):
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from _statements(getattr(node, part, []))


def _expressions(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield the expressions of a statement itself, not of statements within it."""
    pending: list[ast.AST] = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    while pending:
        child = pending.pop()
        if isinstance(child, ast.stmt | ast.excepthandler):
            continue
        yield child
        pending += ast.iter_child_nodes(child)

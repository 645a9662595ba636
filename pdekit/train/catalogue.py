"""What a configuration file and the command line can name: pdekit's public classes, read from the source.

Nothing is imported to find a name, its arguments or its one line, so that ``pdekit list`` answers at once and an
unknown name can be refused before any code of it runs.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["KINDS", "Entry", "by_name", "entries"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("domain", "fem", "fields", "families", "solvers", "nn", "learned", "stream", "train")
KINDS = {
    "families": ("families", "Family", "Source"),
    "fields": ("fields", "RandomField"),
    "shapes": ("domain", "Shape", "RandomShape"),
    "methods": ("solvers", "Method"),
    "preconditioners": ("solvers", "Preconditioner"),
    "models": ("nn", "Module"),
    "learned": ("learned", "LearnedPreconditioner", "Method"),
    "policies": ("stream", "Policy"),
}
"""What ``pdekit list`` shows: the package of each kind and the base classes of its members."""


@dataclass(frozen=True)
class Entry:
    """One public class.

    Args:
        name: of the class.
        path: where to import it from.
        summary: the first line of its docstring.
        arguments: its constructor's, as in the source: ``("low", "float", None)``, the last the default or None.
        bases: names of all base classes within pdekit, nearest first, and of foreign ones named directly.
    """

    name: str
    path: str
    summary: str
    arguments: tuple[tuple[str, str, str | None], ...]
    bases: tuple[str, ...]


def entries(kind: str) -> tuple[Entry, ...]:
    """The members of one kind, by name.

    Args:
        kind: a key of ``KINDS``.

    Example:
        >>> [entry.name for entry in entries("families")][:2]
        ['AdvectionDiffusion', 'Darcy']
    """
    package, *bases = KINDS[kind]
    prefix = f"pdekit.{package}."
    return tuple(
        entry
        for _, entry in sorted(by_name().items())
        if entry.path.startswith(prefix) and set(bases) & set(entry.bases) and _public(entry, package)
    )


@cache
def by_name() -> dict[str, Entry]:
    """Every public class of pdekit that has a constructor worth naming, by its short name."""
    nodes: dict[str, tuple[ast.ClassDef, str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(("pdekit", *path.relative_to(ROOT).with_suffix("").parts))
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    nodes[node.name] = (node, module)
    return {name: _entry(name, nodes) for name in nodes if not _is_abstract(nodes[name][0])}


def _entry(name: str, nodes: dict[str, tuple[ast.ClassDef, str]]) -> Entry:
    node, module = nodes[name]
    summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    return Entry(name, f"{module}.{name}", summary, tuple(_arguments(node)), tuple(_bases(name, nodes)))


def _bases(name: str, nodes: dict[str, tuple[ast.ClassDef, str]]) -> Iterator[str]:
    for base in nodes[name][0].bases:
        short = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        yield short
        if short in nodes and short != name:
            yield from _bases(short, nodes)


def _is_abstract(node: ast.ClassDef) -> bool:
    decorators = [d for item in node.body if isinstance(item, ast.FunctionDef) for d in item.decorator_list]
    return any(getattr(name, "id", "") in ("ABC", "abstractmethod") for name in (*node.bases, *decorators))


def _arguments(node: ast.ClassDef) -> Iterator[tuple[str, str, str | None]]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            yield from _of_function(item)
            return
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                if not ast.unparse(item.annotation).startswith("ClassVar"):
                    default = None if item.value is None else ast.unparse(item.value)
                    yield item.target.id, ast.unparse(item.annotation), default


def _of_function(item: ast.FunctionDef) -> Iterator[tuple[str, str, str | None]]:
    positional = item.args.args[1:]
    defaults = [None] * (len(positional) - len(item.args.defaults)) + list(item.args.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)]
    for argument, default in pairs:
        annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
        yield argument.arg, annotation, None if default is None else ast.unparse(default)


@cache
def _exported(package: str) -> frozenset[str]:
    for node in ast.parse((ROOT / package / "__init__.py").read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(getattr(target, "id", "") == "__all__" for target in targets):
            return frozenset(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return frozenset()


def _public(entry: Entry, package: str) -> bool:
    """Exported, and for a network: nothing but the numbers of channels has to be given; parts of one ask for more."""
    asked = [name for name, _, default in entry.arguments if default is None]
    return entry.name in _exported(package) and (package != "nn" or len(asked) <= 2)

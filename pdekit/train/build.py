"""From plain containers to objects: every name is checked before anything is imported for it."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import PurePath
from typing import Any

import torch
import yaml
from torch import nn

from pdekit.core.errors import ConfigError, PdekitError, did_you_mean
from pdekit.core.expressions import Expression
from pdekit.domain import Mesh
from pdekit.train.catalogue import by_name

__all__ = ["Names", "build", "did_you_mean_key", "shorten"]

TRUSTED = ("pdekit", "torch.optim")
"""Modules whose classes a file may name; others need ``--allow MODULE``."""
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def _torch_names() -> dict[str, str]:
    found = {}
    for module in (torch.optim, torch.optim.lr_scheduler):
        for name in module.__all__:
            if isinstance(getattr(module, name), type):
                found[name] = f"{module.__name__}.{name}"
    return found


TORCH = _torch_names()
_EXPRESSION = f"{Expression.__module__}.Expression"
RENAMED = {"grid": "domain"}
"""Keys of older files, and what they are called now."""
LENGTHS = ("total_steps", "T_max", "max_lr")
"""Arguments of a schedule that the run fills in where the file does not."""


@dataclass(frozen=True)
class Names:
    """Checks the names in a configuration against the annotations of what they configure.

    Args:
        allow: further modules whose classes may be named.
    """

    allow: tuple[str, ...] = ()

    def check(self, value: Any, annotation: Any, path: str) -> Any:
        """The same value with full class paths.

        Args:
            value: plain containers.
            annotation: the type of what they stand for.
            path: the key, for messages.

        Raises:
            ConfigError: an unknown class or key, a class of the wrong kind, or one from a module that is not trusted.
        """
        expected = tuple(_classes(annotation))
        bases = tuple(cls for cls in expected if not is_dataclass(cls) or inspect.isabstract(cls))
        if Expression in expected:  # its text will do, and no text of one is a name
            if isinstance(value, str) and not re.fullmatch(r"[A-Za-z_][\w.]*", value):
                value = {"class_path": _EXPRESSION, "init_args": {"text": value}}
            if isinstance(value, Mapping) and value.get("class_path") in ("Expression", _EXPRESSION):
                return self._instance({**value, "class_path": _EXPRESSION}, (Expression,), annotation, path)
        if isinstance(value, str):
            if bases and str not in expected and not _literal(annotation, value):
                return self._instance({"class_path": value}, bases, annotation, path)
            if not _only_words(annotation):
                self._refuse_import(value, path)
            return value
        if isinstance(value, Mapping):
            if "class_path" in value:
                return self._instance(value, bases, annotation, path)
            plain = [cls for cls in expected if is_dataclass(cls) and not inspect.isabstract(cls)]
            if len(plain) == 1:
                return self.check_arguments(value, plain[0], path)
            if bases:
                raise ConfigError(f"{path} names no class; expected class_path: NAME (and init_args). "
                                  f"Known: {', '.join(_known(bases))}.")  # fmt: skip
            return {key: self.check(item, Any, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, Sequence):
            element = _element(annotation)
            return [self.check(item, element, f"{path}[{i}]") for i, item in enumerate(value)]
        return value

    def check_arguments(
        self, arguments: Mapping[str, Any], target: Callable[..., Any], path: str, skip: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Arguments by name against a signature; ``skip`` holds those that are not for the file to give."""
        parameters = {name: p for name, p in inspect.signature(target).parameters.items() if name not in skip}
        checked = {}
        for key, item in arguments.items():
            if key not in parameters:
                what = getattr(target, "__name__", str(target))
                raise ConfigError(f"{path}.{key}: {what} has no argument {key!r}. {did_you_mean_key(key, parameters)}")
            annotation = parameters[key].annotation
            if item is None and parameters[key].default is not None and not _optional(annotation):
                raise ConfigError(f"{path}.{key} is null; expected a value, or the key left out.")
            checked[key] = self.check(item, annotation, f"{path}.{key}")
        for key, parameter in parameters.items():
            required = parameter.default is parameter.empty and parameter.kind not in _CATCH_ALL
            if required and key not in (*arguments, *LENGTHS):
                raise ConfigError(f"{path}.{key} is missing; {getattr(target, '__name__', target)} needs it.")
        return checked | {key: value for key, value in _networks(target) if key not in checked}

    def _instance(
        self, value: Mapping[str, Any], bases: tuple[type, ...], annotation: Any, path: str
    ) -> dict[str, Any]:
        for key in value:
            if key not in ("class_path", "init_args"):
                raise ConfigError(f"{path}.{key}: beside class_path only init_args is expected. "
                                  f"Write {path}.init_args.{key}.")  # fmt: skip
        full = self._resolve(value["class_path"], bases, path)
        module, _, name = full.rpartition(".")
        try:
            cls = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{path}: there is no class {full}. {_known_sentence(name, bases)}") from error
        if not isinstance(cls, type) or (bases and not issubclass(cls, bases)):
            wanted = " or ".join(base.__name__ for base in bases)
            raise ConfigError(f"{path}: {name} is no {wanted or 'class'}. {_known_sentence(name, bases)}")
        arguments = value.get("init_args") or {}
        if not isinstance(arguments, Mapping):
            raise ConfigError(f"{path}.init_args is {arguments!r}; expected a mapping of arguments.")
        skip = _from_run(cls, annotation)
        return {"class_path": full, "init_args": self.check_arguments(arguments, cls, path, skip=skip)}

    def _resolve(self, name: Any, bases: tuple[type, ...], path: str) -> str:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            raise ConfigError(f"{path}: class_path {name!r} is no class name. {_known_sentence(str(name), bases)}")
        if "." not in name:
            entry = by_name().get(name)
            if entry is None and name not in TORCH:
                raise ConfigError(f"{path}: there is no class {name!r}. {_known_sentence(name, bases)}")
            return TORCH[name] if entry is None else entry.path
        self._refuse_import(name, path)
        return name

    def _refuse_import(self, text: str, path: str) -> None:
        if not IMPORT_PATH.fullmatch(text):
            return
        trusted = (*TRUSTED, *self.allow)
        if not any(text == module or text.startswith(module + ".") for module in trusted):
            raise ConfigError(
                f"{path}: {text} is outside {' and '.join(trusted)}, and importing it would run its code. "
                f"If you trust it, pass --allow {text.split('.')[0]}."
            )


def build(key: str, annotation: Any, value: Any) -> tuple[Any, Any]:
    """Make what checked containers describe.

    Args:
        key: what messages call it.
        annotation: the type expected; ``Callable[[int, int], Module]`` gives a function of what is still missing.
        value: containers that :class:`Names` has checked.

    Returns:
        The object, and the containers with every default filled in.

    Raises:
        ConfigError: a value of the wrong type, or one that a constructor refuses; the message names its key.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{key}", type=annotation)
    try:
        namespace = parser.parse_object({key: value})
        resolved = yaml.safe_load(parser.dump(namespace, skip_unset=False))[key]
        return parser.instantiate(namespace)[key], resolved
    except ArgumentError as error:
        raise ConfigError(_readable(str(error))) from error
    except (PdekitError, TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {_without_union(str(error))}") from error


def shorten(value: Any) -> Any:
    """Class paths of pdekit as the short names that a person would write; :class:`Names` undoes it."""
    if isinstance(value, Mapping):
        short = {key: shorten(item) for key, item in value.items()}
        path = value.get("class_path")
        if isinstance(path, str) and path.startswith("pdekit.") and path.rpartition(".")[2] in by_name():
            short["class_path"] = path.rpartition(".")[2]
        return short
    return [shorten(item) for item in value] if isinstance(value, list | tuple) else value


def did_you_mean_key(key: str, known: Mapping[str, Any]) -> str:
    """The closing sentence of an error about an unknown key."""
    if RENAMED.get(key) in known:
        return f"Did you mean {RENAMED[key]}? Known: {', '.join(sorted(known))}."
    return did_you_mean(key, known) if known else "It takes none."


def _without_union(message: str) -> str:
    """What the right member of a union says, out of what each member says against a value."""
    if not message.startswith("Does not validate against any of the Union subtypes"):
        return message
    causes = [line.strip().removeprefix("- ") for line in message.splitlines() if line.startswith("  - ")]
    own = [cause for cause in causes if not any(noise in cause for noise in OTHER_MEMBERS)]
    return "; or ".join(own or causes)


OTHER_MEMBERS = (
    "Expected a <class",
    "Subclasses are disabled",
    "does not correspond to a subclass",
    "__init__()",
    "instantiatable class",
)


def _readable(message: str) -> str:
    """One line from jsonargparse's tree of causes."""
    keys = re.findall(r"(?:Parser key|Group) [\"']?([\w.\[\]]+)", message)
    lines = [line.strip().lstrip("- ") for line in message.rpartition("Parser key")[2].splitlines()[1:]]
    causes = [re.sub(r"\.? Got value: .*|\.$", "", line) for line in lines if line and not line.startswith(BRANCHES)]
    given = re.findall(r"Got value: (?!Namespace)(.+?)\.?(?: Got value.*)?$|Given value: (.+)$", message, re.MULTILINE)
    text = "; or ".join(dict.fromkeys(causes))
    for pattern, plain in (
        (r"<class '([\w.]+)'>", r"\1"),
        (r"typing\.Literal\[(.*?)\]", r"one of \1"),
        ("Expected an? ", "expected "),
    ):
        text = re.sub(pattern, plain, text)
    value = next((a or b for a, b in given), "").split(". Got value")[0]
    value = "" if value.startswith("Namespace") else value
    return f"{'.'.join(dict.fromkeys(keys))}{f' is {value}' if value else ''}: {text}."


BRANCHES = (
    "Problem with", "Does not validate", "Subtypes:", "Errors:", "Given value", "Subclass types expect", "a class path",
    "a dict with", "Not a valid subclass of Tensor", "Parser key",
)  # fmt: skip


NOT_NAMED = (int, float, complex, bool, type(None), torch.Tensor, Mesh, Any)
"""Types that a file gives by value or not at all."""


def _classes(annotation: Any) -> Iterator[type]:
    origin = typing.get_origin(annotation)
    if origin is Callable or origin is typing.get_origin(Callable[[], int]):
        yield from _classes(typing.get_args(annotation)[-1])
    elif origin is not None and origin is not typing.Literal:
        if not (isinstance(origin, type) and issubclass(origin, Sequence | Mapping)):
            for argument in typing.get_args(annotation):
                yield from _classes(argument)
    elif isinstance(annotation, type) and annotation not in NOT_NAMED:
        if annotation.__module__.partition(".")[0] not in ("jaxtyping", "builtins") or annotation is str:
            yield annotation


def _only_words(annotation: Any) -> bool:
    """Whether a string can only stand for itself here, or for a path, and never for something to be imported."""
    if typing.get_origin(annotation) is typing.Literal:
        return True
    if arguments := typing.get_args(annotation):
        return typing.get_origin(annotation) in (typing.Union, types.UnionType) and all(map(_only_words, arguments))
    return annotation in (str, int, float, bool, type(None)) or (
        isinstance(annotation, type) and issubclass(annotation, PurePath)
    )


_CATCH_ALL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _optional(annotation: Any) -> bool:
    plain = annotation in (Any, None, type(None), inspect.Parameter.empty)
    return plain or any(_optional(argument) for argument in typing.get_args(annotation))


def _literal(annotation: Any, value: str) -> bool:
    if typing.get_origin(annotation) is typing.Literal:
        return value in typing.get_args(annotation)
    return any(_literal(argument, value) for argument in typing.get_args(annotation))


def _element(annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        arguments = [argument for argument in typing.get_args(annotation) if argument is not Ellipsis]
        return typing.Union[tuple(arguments)] if arguments else Any  # noqa: UP007
    found = [_element(argument) for argument in typing.get_args(annotation)]
    found = [element for element in found if element is not Any]
    return typing.Union[tuple(found)] if found else Any  # noqa: UP007


def _networks(target: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The networks that a dataclass makes by default, named: they can be written down, and are made anew each time."""
    for field in fields(target) if is_dataclass(target) else ():
        make = field.default_factory
        if isinstance(make, type) and issubclass(make, nn.Module):
            yield field.name, {"class_path": f"{make.__module__}.{make.__qualname__}", "init_args": {}}


def _from_run(cls: type, annotation: Any) -> tuple[str, ...]:
    """Arguments that the run supplies: channels of a model, parameters of an optimiser, the optimiser of a schedule."""
    if typing.get_origin(annotation) is not Callable:
        return ()
    given = typing.get_args(annotation)[0]
    if given is Ellipsis:  # a task, which says so itself
        return cls.supplied  # type: ignore[attr-defined]
    return tuple(inspect.signature(cls).parameters)[: len(given)]


def _known(bases: tuple[type, ...]) -> list[str]:
    names = {base.__name__ for base in bases}
    ours = [entry.name for entry in by_name().values() if not bases or names & set(entry.bases) or entry.name in names]
    theirs = [n for n, path in TORCH.items() if bases and issubclass(_torch_class(path), bases) and n not in names]
    return sorted(ours + theirs)


def _torch_class(path: str) -> type:
    module, _, name = path.rpartition(".")
    return getattr(torch.optim if module == "torch.optim" else torch.optim.lr_scheduler, name)


def _known_sentence(name: str, bases: tuple[type, ...]) -> str:
    return did_you_mean(name, _known(bases))

"""Configuration files as plain containers: read safely, changed from the command line, written back."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pdekit.core.errors import ConfigError

__all__ = ["override", "parse_overrides", "read_yaml", "to_yaml"]

MOST_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """Plain YAML: numbers such as 1e-5 are numbers, repeated keys and references are errors."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="references (*name) are not accepted", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The contents of a configuration file.

    Raises:
        ConfigError: the file is missing, too large, no YAML mapping, or uses tags, references or repeated keys.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ConfigError(f"{path} has {size:,} bytes; a configuration has at most {MOST_BYTES:,}.")
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text file; expected YAML.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    content = _parse(text, str(path))
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}; expected a mapping of keys such as family, model.")
    return content


def to_yaml(content: dict[str, Any]) -> str:
    """Plain containers as YAML, the innermost on one line."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110, default_flow_style=None)


class _Dumper(yaml.SafeDumper):
    """Never writes references, which :func:`read_yaml` refuses."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def parse_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    """``--a.b value`` and ``--a.b=value`` as pairs of key and YAML value.

    Raises:
        ConfigError: a word that is no option, or an option without value.

    Example:
        >>> parse_overrides(["--stream.rtol", "1e-6", "--model.modes=[8, 8]"])
        [('stream.rtol', 1e-06), ('model.modes', [8, 8])]
    """
    pairs, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if not re.fullmatch(r"--[A-Za-z_][\w.]*(=.*)?", word, re.DOTALL):
            raise ConfigError(f"{word!r} is unexpected here; expected --key value, such as --trainer.max_steps 200.")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"--{key} has no value; expected --{key} VALUE.")
            value = rest.pop(0)
        pairs.append((key, _parse(value, f"--{key}")))
    return pairs


def override(config: dict[str, Any], key: str, value: Any) -> None:
    """Set ``a.b.c`` in place; ``init_args`` is implied below a class, and a bare class name replaces a class.

    Raises:
        ConfigError: the path goes through something that is no mapping.

    Example:
        >>> config = {"model": {"class_path": "FNO", "init_args": {"width": 32}}}
        >>> override(config, "model.width", 64)
        >>> config
        {'model': {'class_path': 'FNO', 'init_args': {'width': 64}}}
    """
    *parents, last = key.split(".")
    node = config
    for depth, name in enumerate([*parents, last]):
        if "class_path" in node and name not in ("class_path", "init_args"):
            node = node.setdefault("init_args", {})
        if depth == len(parents):
            break
        if isinstance(node.get(name), str):
            node[name] = {"class_path": node[name], "init_args": {}}
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--{key}: {'.'.join(parents[: depth + 1])} is {node!r}, which has nothing inside.")
    kept = node.get(last)
    if isinstance(kept, dict) and isinstance(value, str) and kept.get("class_path") == value:
        return
    node[last] = value


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigError(f"{where}{place}: {error.problem or error.context}.") from error
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise ConfigError(f"{where} is no YAML: {str(error).splitlines()[0]}.") from error

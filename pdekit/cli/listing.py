"""``pdekit list``: what there is to name in a configuration or on the command line."""

import re
import textwrap

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser
from pdekit.train.catalogue import KINDS, Entry, entries

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    p = new_parser(
        "list",
        "Show what can be named in a configuration file or on the command line: one line each, and the arguments.",
        "  pdekit list families\n  pdekit list methods\n  pdekit list            all kinds",
    )
    p.add_argument("kind", nargs="?", choices=sorted(KINDS), help=f"one of {', '.join(KINDS)}; all if left out")
    return p


def run(arguments: Namespace) -> int:
    kinds = [arguments.kind] if arguments.kind else list(KINDS)
    for kind in kinds:
        if len(kinds) > 1:
            print(f"{kind}:")
        for entry in entries(kind):
            print(_text(entry))
    return 0


def _text(entry: Entry) -> str:
    arguments = ", ".join(name if default is None else f"{name}={default}" for name, _, default in entry.arguments)
    arguments = arguments.replace("field(default_factory=dict)", "{}")
    lines = textwrap.wrap(f"{entry.name}({arguments})", 110, subsequent_indent="      ") or [entry.name]
    summary = re.sub(r":\w+:`(?:~[\w.]+\.)?([\w.]+)`|``(.+?)``", r"\1\2", entry.summary)
    return "\n".join([f"  {lines[0]}", *lines[1:], f"      {summary}"])

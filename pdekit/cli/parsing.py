"""What the parsers of all commands share."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

__all__ = ["new_parser", "parse_with_overrides", "read_array", "refuse_existing", "trust"]


class _Parser(ArgumentParser):
    """Raises what it does not understand, so that one place prints all errors alike."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        from pdekit.core.errors import ConfigError, did_you_mean

        options = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        hint = f" {did_you_mean(unknown[1], options)}" if unknown else ""
        raise ConfigError(f"{message}.{hint} See `{self.prog} --help`.") from ex


def new_parser(command: str, description: str, examples: str) -> ArgumentParser:
    """A parser for one command, with examples at the end of its help."""
    return _Parser(
        prog=f"pdekit {command}",
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def parse_with_overrides(parser: ArgumentParser, words: Sequence[str], keys: Sequence[str]) -> Namespace:
    """Parse; options that the parser does not know but that begin with one of ``keys`` become ``overrides``.

    Args:
        parser: of the command.
        words: of the command line.
        keys: top-level keys of the configuration file that the command reads.

    Returns:
        The parser's namespace with ``overrides``, pairs of key and value.
    """
    known = {name for action in parser._actions for name in action.option_strings}
    own, others, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        option = word.partition("=")[0]
        if option.startswith("--") and option not in known and option[2:].partition(".")[0] in keys:
            others.append(word)
            if "=" not in word and rest:
                others.append(rest.pop(0))
        else:
            own.append(word)
    arguments = parser.parse_args(own)
    if others:
        from pdekit.train.yamlfile import parse_overrides

        arguments["overrides"] = parse_overrides(others)
    else:
        arguments["overrides"] = []
    return arguments


def trust(modules: Sequence[str], *files: str) -> None:
    """Let modules named by --allow be found beside these files and in the working folder, after all installed ones.

    Args:
        modules: the words of --allow; nothing happens without one.
        files: whose folders are searched, first the first.
    """
    if modules:
        folders = [str(Path(name).resolve().parent) for name in files] + [str(Path.cwd())]
        sys.path += [folder for folder in dict.fromkeys(folders) if folder not in sys.path]


def refuse_existing(paths: list[str | None], overwrite: bool) -> None:
    """Refuse to write over what is there, before any work is done.

    Raises:
        ConfigError: no name, a file that exists while ``overwrite`` is not set, something that is no file, or one name
            for two files.
    """
    from pdekit.core.errors import ConfigError

    given = [Path(path) for path in paths if path is not None]
    for path in given:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is a {'folder' if path.is_dir() else 'device'}; expected the name of a file.")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} exists; choose another name, or pass --overwrite to replace it.")
    for place, path in enumerate(given):
        if path.resolve() in [other.resolve() for other in given[:place]]:
            raise ConfigError(f"{path} is named for two different files; choose two names.")


def read_array(path: str) -> Any:
    """A NumPy file as a float64 tensor; pickled objects are refused.

    Raises:
        ConfigError: the file is missing, no ``.npy`` file of real numbers, or has more than three axes.
    """
    import numpy as np
    import torch

    from pdekit.core.errors import ConfigError

    try:
        array = np.load(path, allow_pickle=False)
    except MemoryError as error:
        raise ConfigError(f"{path} claims to hold more than the memory does ({error}).") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError) as error:
        raise ConfigError(
            f"{path} is no plain .npy file of numbers ({str(error).split('.')[0]}); expected one written by "
            "numpy.save from an array of floats. Pickled objects are never loaded, because they can run code."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not 1 <= array.ndim <= 3:
        what = f"{array.dtype} numbers with shape {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise ConfigError(f"{path} holds {what}; expected one real array with 1, 2 or 3 axes.")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))

"""The command ``pdekit``: finds the subcommand, and turns every error that pdekit raises on purpose into one line."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "solve": "solve one PDE problem from arrays of your own, or a random one",
    "generate": "solve many random problems into a dataset file",
    "train": "train a surrogate, or a part of a solver, on problems that are solved while it learns",
    "evaluate": "measure what was trained against the solver",
    "bench": "measure pdekit against its peers and its own claims",
    "list": "show the families, fields, methods, models and policies there are",
}
"""Each lives in the module of the same name here (``list`` in ``listing``), as ``parser()`` and ``run(arguments)``;
those that take the keys of a configuration file as options also have ``parse(words)``."""

HELP = """usage: pdekit COMMAND [...]

Solve families of PDEs, stream certified samples, train surrogates.

commands:
{commands}

options:
  -h, --help   show this text; `pdekit COMMAND --help` explains a command, with examples
  --version    show the version
  --traceback  (with any command) show where an error came from; so does PDEKIT_TRACEBACK=1

start here:
  pdekit train configs/quickstart.yaml          train an FNO on Darcy flow in a few minutes
  pdekit solve darcy --plot solution.png        draw one problem, solve it and look at it
  pdekit list families                          what can be solved
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after ``pdekit``; those of the process by default.

    Returns:
        The exit code: 0 done, 1 an unforeseen error, 2 unusable input or a missing package, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in arguments or os.environ.get("PDEKIT_TRACEBACK", "") not in ("", "0")
    arguments = [a for a in arguments if a != "--traceback"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(commands="\n".join(f"  {name:10} {line}" for name, line in COMMANDS.items())), end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from pdekit import __version__

        print(f"pdekit {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    try:
        return _run(name, rest)
    except SystemExit as stop:  # argparse ends this way after --help and after a misspelt option
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as stop:
        _say(f"interrupted. {stop}" if str(stop) else "interrupted.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if traceback:
            raise
        return _report(error)


def _run(name: str, rest: list[str]) -> int:
    if name not in COMMANDS:
        from pdekit.core.errors import ConfigError, did_you_mean

        raise ConfigError(f"There is no command {name!r}. {did_you_mean(name, COMMANDS)}")
    module = import_module(f"pdekit.cli.{'listing' if name == 'list' else name}")
    parse = getattr(module, "parse", None) or (lambda words: module.parser().parse_args(words))
    return module.run(parse(rest))


def _report(error: Exception) -> int:
    from pdekit.core.errors import PdekitError

    if isinstance(error, PdekitError):
        _say(f"error: {error}")
        return 2
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        _say(f"error: {error.strerror or error}{where}")
        return 2
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # NumPy's, torch's
        _say(f"error: there is not enough memory ({error}); use fewer points, samples or channels.")
        return 2
    _say(f"error: unforeseen {type(error).__name__}: {error}\n  Run again with --traceback to see where it came from.")
    return 1


def _say(line: str) -> None:
    print(f"pdekit: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""``pdekit train``: run a configuration file."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser, parse_with_overrides, trust

__all__ = ["parse", "parser", "run"]

KEYS = ("family", "solver", "stream", "task", "model", "optimizer", "schedule", "trainer", "evaluation", "out")


def parser() -> ArgumentParser:
    p = new_parser(
        "train",
        "Train on problems that are solved meanwhile, and measure what was trained on held-out ones. The task says\n"
        "what is trained: a surrogate (OperatorLearning), a preconditioner (PreconditionerLearning) or search\n"
        "directions (DirectionLearning).\n\n"
        "The file's keys:\n\n"
        "  family      the problems, such as Darcy (needed)     model       the network, such as FNO (needed)\n"
        "  solver      how they are solved                      task        what is learned; OperatorLearning\n"
        "  stream      how samples reach the training           optimizer   such as AdamW\n"
        "  trainer     steps, checkpoints, logs                 schedule    of the learning rate; none by default\n"
        "  evaluation  the held-out problems                    out         the run folder (needed)\n\n"
        "Any of them can be changed by an option: --model.width 16. Classes go by their names (`pdekit list`).\n"
        "Classes of your own go by their module (my_model.Net); --allow my_model trusts that module, to be looked for\n"
        "among the installed ones, then beside the file, then in the working folder.\n"
        "The run folder gets config.yaml, logs/, batches.csv, checkpoints/, model/, report.json and a picture.",
        "  pdekit train configs/quickstart.yaml\n"
        "  pdekit train configs/quickstart.yaml --resume\n"
        "  pdekit train configs/quickstart.yaml --trainer.max_steps 300 --model.width 16 --out runs/small\n"
        "  pdekit train configs/quickstart.yaml --stream.schedule lockstep --print_config\n"
        "  pdekit train run.yaml --allow my_pde --allow my_model",
    )
    p.add_argument("config", metavar="FILE", help="YAML: family, model, out; solver, stream, task, optimizer, ...")
    p.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the run folder")
    p.add_argument("--overwrite", action="store_true", help="delete what is in the run folder and start again")
    p.add_argument("--print_config", action="store_true", help="show the configuration with every default, and stop")
    p.add_argument("--allow", action="append", default=[], metavar="MODULE", help="trust classes of this module")
    return p


def parse(words: Sequence[str]) -> Namespace:
    """Options of the command, and all others as changes to the file."""
    flag = "--print_config"  # the parsing library would take it for its own
    arguments = parse_with_overrides(parser(), [word for word in words if word != flag], KEYS)
    arguments["print_config"] = flag in words
    return arguments


def run(arguments: Namespace) -> int:
    from pdekit.train.config import load_config
    from pdekit.train.yamlfile import to_yaml

    trust(arguments.allow, arguments.config)
    config = load_config(arguments.config, arguments.overrides, allow=arguments.allow)
    if arguments.print_config:
        print(to_yaml(config.resolved), end="")
        return 0
    from pdekit.train.runner import run as train

    try:
        train(config, resume=arguments.resume, overwrite=arguments.overwrite)
    except KeyboardInterrupt:
        changes = "".join(f" --{key} {shlex.quote(_word(value))}" for key, value in arguments.overrides)
        raise KeyboardInterrupt(f"Go on with: pdekit train {arguments.config}{changes} --resume") from None
    return 0


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

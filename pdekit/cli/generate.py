"""``pdekit generate``: many certified samples into a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser

__all__ = ["parse", "parser", "run"]

KEYS = ("family", "solver", "seed", "split", "rtol", "count", "ticket_size", "dtype")


def parser() -> ArgumentParser:
    p = new_parser(
        "generate",
        "Draw problems by a recipe, solve them, and write inputs, solutions and certificates into a folder.\n"
        "Options replace what the recipe says.",
        "  pdekit generate datasets/darcy/recipe.yaml --count 1024 --out data/darcy\n"
        "  pdekit generate datasets/darcy/recipe.yaml --count 200 --split test --rtol 1e-10 --out data/darcy-test\n"
        "  pdekit generate datasets/darcy/recipe.yaml --family.grid.shape [64,64] --count 64 --out data/small",
    )
    p.add_argument("recipe", help="YAML: family, seed, split, rtol, count, ticket_size, dtype")
    p.add_argument("--out", required=True, metavar="FOLDER", help="where the dataset goes")
    p.add_argument("--count", type=int, help="samples")
    p.add_argument("--seed", type=int, help="of the inputs")
    p.add_argument("--split", help="train, validation, test: independent streams of samples")
    p.add_argument("--rtol", type=float, help="relative residual of every solution")
    p.add_argument("--dtype", choices=("float32", "float64"), help="of the stored fields; solving is in float64")
    p.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    p.add_argument("--allow", action="append", default=[], metavar="MODULE", help="trust classes of this module")
    return p


def parse(words: Sequence[str]) -> Namespace:
    """Options of the command, and all others as changes to the recipe (``--family.grid.shape [64, 64]``)."""
    from pdekit.cli.parsing import parse_with_overrides

    return parse_with_overrides(parser(), words, KEYS)


def run(arguments: Namespace) -> int:
    from pdekit import plot
    from pdekit.cli.progress import Progress
    from pdekit.core.errors import ConfigError
    from pdekit.stream import generate

    recipe = _recipe(arguments)
    out = Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise ConfigError(f"{out} exists; choose another folder, or pass --overwrite to replace it.")
    family = recipe.pop("family")
    options = {"method": recipe.pop("solver", None), "overwrite": arguments.overwrite}
    with Progress(recipe["count"], "samples") as progress:
        report = generate(family, out, recipe.pop("count"), progress=progress.at, **recipe, **options)
    print(report)
    first = family.solve(
        family.draw(range(3), seed=recipe.get("seed", 0), split=recipe.get("split", "train")), rtol=1e-6
    )
    plot.save(plot.plot_fields(first), out / "samples.png")
    return 0


def _recipe(arguments: Namespace) -> dict[str, Any]:
    """The recipe with the options in place, and its family and solver as objects."""
    from pdekit.core.errors import ConfigError, did_you_mean
    from pdekit.samples import Source
    from pdekit.solvers import Method
    from pdekit.train.build import Names, build
    from pdekit.train.yamlfile import override, read_yaml

    content = read_yaml(arguments.recipe)
    for key in ("count", "seed", "split", "rtol", "dtype"):
        if arguments[key] is not None:
            content[key] = arguments[key]
    for key, value in arguments.overrides:
        override(content, key, value)
    for key in content:
        if key not in KEYS:
            raise ConfigError(f"{arguments.recipe}: a recipe has no key {key!r}. {did_you_mean(str(key), KEYS)}")
    for key in ("family", "count"):
        if content.get(key) is None:
            raise ConfigError(f"{arguments.recipe}: the key {key!r} is missing; give it there or as --{key}.")
    names = Names(tuple(arguments.allow))
    types = {"family": Source, "solver": Method, "seed": int, "split": str, "rtol": float, "count": int,
             "ticket_size": int, "dtype": str}  # fmt: skip
    made = {key: build(key, types[key], names.check(content[key], types[key], key))[0] for key in content}
    return made

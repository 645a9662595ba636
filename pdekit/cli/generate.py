"""``pdekit generate``: many certified samples into a dataset."""

from collections.abc import Sequence
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser, trust

__all__ = ["parse", "parser", "run"]

KEYS = ("family", "solver", "seed", "split", "rtol", "count", "order", "ticket_size", "dtype")


def parser() -> ArgumentParser:
    p = new_parser(
        "generate",
        "Draw problems by a recipe, solve them, and write inputs, solutions and certificates into a folder.\n"
        "Options replace what the recipe says.",
        "  pdekit generate datasets/darcy/recipe.yaml --count 1024 --out data/darcy\n"
        "  pdekit generate datasets/darcy/recipe.yaml --count 200 --split test --rtol 1e-10 --out data/darcy-test\n"
        "  pdekit generate datasets/darcy/recipe.yaml --family.domain.shape [64,64] --count 64 --out data/small",
    )
    p.add_argument("recipe", help="YAML: family, solver, seed, split, rtol, count, order, ticket_size, dtype")
    p.add_argument("--out", required=True, metavar="FOLDER", help="where the dataset goes")
    p.add_argument("--count", type=int, help="samples")
    p.add_argument("--seed", type=int, help="of the inputs")
    p.add_argument("--split", help="train, validation, test: independent streams of samples")
    p.add_argument("--rtol", type=float, help="relative residual of every solution")
    p.add_argument("--order", choices=("drawn", "sorted"), help="of solving, within a ticket; the samples are the same")
    p.add_argument("--dtype", choices=("float32", "float64"), help="of the stored fields; solving is in float64")
    p.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    p.add_argument("--allow", action="append", default=[], metavar="MODULE", help="trust classes of this module")
    return p


def parse(words: Sequence[str]) -> Namespace:
    """Options of the command, and all others as changes to the recipe (``--family.domain.shape [64, 64]``)."""
    from pdekit.cli.parsing import parse_with_overrides

    return parse_with_overrides(parser(), words, KEYS)


def run(arguments: Namespace) -> int:
    from pdekit import plot
    from pdekit.cli.progress import Progress, progress_line
    from pdekit.core.patience import patience
    from pdekit.stream import generate

    recipe, text = _recipe(arguments)
    family, count, method = recipe.pop("family"), recipe.pop("count"), recipe.pop("solver", None)
    shown = family.draw(range(max(1, min(count, 3))), seed=recipe.get("seed", 0), split=recipe.get("split", "train"))
    with patience(progress_line):
        shown = family.solve(shown, rtol=1e-6, method=method)
    with Progress(count, "samples") as progress:
        report = generate(
            family,
            arguments.out,
            count,
            method=method,
            overwrite=arguments.overwrite,
            recipe=text,
            progress=progress.at,
            **recipe,
        )
    print(report)
    picture = report.path / "samples.png"
    plot.save(plot.samples_figure(shown), picture)
    print(f"  drawn in {picture}")
    return 0


def _recipe(arguments: Namespace) -> tuple[dict[str, Any], str]:
    """The recipe with the options in place, its family and solver as objects; and as text, every default filled in."""
    from pdekit.core.errors import ConfigError, did_you_mean
    from pdekit.samples import Source
    from pdekit.solvers import Method
    from pdekit.train.build import Names, build, shorten
    from pdekit.train.yamlfile import override, read_yaml, to_yaml

    content = read_yaml(arguments.recipe)
    for key in ("count", "seed", "split", "rtol", "order", "dtype"):
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
    trust(arguments.allow, arguments.recipe)
    names = Names(tuple(arguments.allow))
    types: dict[str, Any] = {
        "family": Source, "solver": Method, "seed": int, "split": str, "rtol": float, "count": int,
        "order": Literal["drawn", "sorted"], "ticket_size": int, "dtype": Literal["float32", "float64"],
    }  # fmt: skip
    built = {key: build(key, types[key], names.check(content[key], types[key], key)) for key in content}
    resolved = {key: built[key][1] for key in KEYS if key in built}
    return {key: made for key, (made, _) in built.items()}, to_yaml(shorten(resolved))

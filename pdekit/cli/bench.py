"""``pdekit bench``: run a benchmark, show its claims, keep them as JSON."""

import ast
from importlib import import_module
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from pdekit.cli.parsing import new_parser

__all__ = ["parser", "run"]


def parser() -> ArgumentParser:
    p = new_parser(
        "bench",
        "Measure pdekit against its peers and its own claims; without a name, list the benchmarks.\n"
        "The exit code is 0 whatever the claims say, 2 where a peer is not installed.",
        "  pdekit bench\n"
        "  pdekit bench generation --json generation.json\n"
        "  pdekit bench multigrid --quick --only multigrid.growth",
    )
    p.add_argument("name", nargs="?", help="which benchmark")
    p.add_argument("--quick", action="store_true", help="a smaller version, to see that it works; no evidence")
    p.add_argument(
        "--seeds", type=int, default=1, help="repetitions with other random problems; claims take the median"
    )
    p.add_argument("--only", action="append", default=[], metavar="ID", help="measure this claim only (repeatable)")
    p.add_argument("--json", metavar="FILE", help="write machine, versions, rows and claims here")
    return p


def run(arguments: Namespace) -> int:
    from pdekit.bench import BENCHMARKS

    if arguments.name is None:
        for name, module in BENCHMARKS.items():
            print(f"  {name:12} {_summary(module)}")
        return 0
    from pdekit.bench import harness
    from pdekit.core.errors import ConfigError, did_you_mean

    if arguments.name not in BENCHMARKS:
        raise ConfigError(f"There is no benchmark {arguments.name!r}. {did_you_mean(arguments.name, BENCHMARKS)}")
    benchmark = import_module(BENCHMARKS[arguments.name]).BENCHMARK
    report = harness.run(benchmark, quick=arguments.quick, seeds=arguments.seeds, only=arguments.only)
    print()
    if arguments.quick:
        print("  --quick: smaller problems than those of the claims, so the figures below are no evidence")
    for claim in report["claims"]:
        verdict = "quick" if arguments.quick else "holds" if claim["holds"] else "FAILS"
        print(
            f"  {verdict}  {claim['id']}: {claim['value']:.4g} {claim['sense']} {claim['bound']:g}  ({claim['what']})"
        )
    if arguments.json:
        harness.write_json(report, Path(arguments.json))
        print(f"written to {arguments.json}")
    return 0


def _summary(module: str) -> str:
    """The first line of a module's docstring, without importing it."""
    folder = Path(__file__).resolve().parents[1].joinpath(*module.split(".")[1:])
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]

"""The problems that ``pdekit solve`` makes on a grid: from arrays and formulas, or drawn at random."""

from typing import Any

from jsonargparse import Namespace

from pdekit.cli.conditions import SCALAR, condition
from pdekit.cli.problems import EQUATIONS, Problem, array_of, field_of, is_array, only_word

__all__ = ["problem"]

SIDES = ("left", "right", "bottom", "top", "back", "front")


class GridProblem(Problem):
    """A problem on a grid."""

    def surplus(self, samples: Any) -> float:
        """The mean over the domain of the source and the fluxes through the sides."""
        from pdekit.solvers import diffusion

        a = samples["coefficient"] if "coefficient" in self.family.schema.inputs else 1.0
        system = diffusion(self.family.place, a, samples["source"], self.family.boundaries)
        total = system.rhs.shape[-1] if system.share is None else float(system.share.sum())
        return float(system.rhs.sum()) / total

    def picture(self, samples: Any) -> Any:
        """Inputs and solution side by side."""
        from pdekit import plot

        schema = self.family.schema
        return plot.plot_fields({name: samples[name][0] for name in (*schema.inputs, *schema.outputs)}, schema.domain)


def problem(arguments: Namespace) -> GridProblem:
    """The family and its one problem.

    Raises:
        ConfigError: an equation that needs a mesh, or words that cannot be understood.
    """
    from pdekit.core.errors import ConfigError
    from pdekit.families import Darcy, Poisson
    from pdekit.fields import Constant, GaussianField, Threshold

    name = arguments.family
    if not EQUATIONS[name].on_grids:
        raise ConfigError(f"{name} is solved on a mesh; expected --mesh FILE.")
    words = {key: only_word(f"--{key}", arguments[key]) for key in ("source", "coefficient") if arguments[key]}
    found = {key: array_of(word) for key, word in words.items() if is_array(word)}
    grid = _grid(arguments, {key: tuple(array.shape) for key, (array, _) in found.items()})
    boundaries = [
        condition(side, given, SCALAR, grid.dim)[0] for side, given in arguments.conditions if given != ["periodic"]
    ]
    points = grid.points()
    found |= {key: field_of(f"--{key}", word, points) for key, word in words.items() if key not in found}
    fields, given = {key: value for key, (value, _) in found.items()}, {key: text for key, (_, text) in found.items()}
    if name == "poisson":
        law = Constant(0.0) if fields else GaussianField(alpha=2, tau=3)
        family = Poisson(grid, law, boundaries)
        inputs = family.inputs_from(fields["source"]) if fields else family.draw([0], seed=arguments.seed or 0)
        return GridProblem(family, inputs, given, EQUATIONS[name])
    law = Threshold(GaussianField(alpha=2, tau=3), low=3, high=12)
    source = given.get("source", 1.0)
    family = Darcy(grid, law, source if isinstance(source, float) else Constant(0.0), boundaries)
    names = family.schema.inputs
    if "coefficient" not in fields:
        drawn = family.draw([0], seed=arguments.seed or 0)
        if "source" not in names:
            return GridProblem(family, drawn, {}, EQUATIONS[name])
        fields["coefficient"] = drawn["coefficient"][0]
    inputs = family.inputs_from(**{key: fields[key] for key in names})
    return GridProblem(family, inputs, {key: given[key] for key in names if key in given}, EQUATIONS[name])


def _grid(arguments: Namespace, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Of the shape of the arrays given, or of the resolution asked for; open along periodic axes."""
    from pdekit.core.errors import ConfigError, did_you_mean
    from pdekit.domain import SIDES as PAIRS
    from pdekit.domain import Grid

    if len(set(shapes.values())) > 1:
        a, b = (shapes[key] for key in ("coefficient", "source"))
        raise ConfigError(f"--coefficient has shape {a} and --source {b}; expected one shape.")
    resolution = 128 if arguments.resolution is None else arguments.resolution
    if resolution < 3:
        raise ConfigError(f"--resolution {resolution}: expected at least 3.")
    shape = next(iter(shapes.values()), (resolution,) * (arguments.dimension or 2))
    open_axes: set[int] = set()
    for side, given in arguments.conditions:
        if side not in (*SIDES, "all"):
            raise ConfigError(f"--boundary.{side}: a grid has no such side. {did_you_mean(side, [*SIDES, 'all'])}")
        if given == ["periodic"]:
            axes = [axis for axis, pair in enumerate(PAIRS) if side in pair] or range(len(shape))
            if max(axes) >= len(shape):
                raise ConfigError(f"--boundary.{side} periodic: the grid has {len(shape)} axes only.")
            open_axes |= set(axes)
    return Grid(shape, closed=tuple(axis not in open_axes for axis in range(len(shape))))

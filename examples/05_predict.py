"""Load the surrogate that 04_train_surrogate.py saved, predict, compare with the solver, try a finer grid."""

import pdekit as pk

surrogate = pk.load("runs/example/model")
coefficient = pk.fields.Threshold(pk.fields.GaussianField(alpha=2, tau=3), low=3, high=12)


def mean_error(guess, truth):
    """Relative L2 error, mean over samples."""
    return float(((guess - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)).mean())


def evaluate(points: int) -> tuple[float, float]:
    """Errors of the surrogate and of a constant guess on 16 held-out problems with this many points a side."""
    family = pk.families.Darcy(pk.Grid((points, points)), coefficient=coefficient)
    inputs = family.draw(range(16), seed=0, split="test")
    truth = family.solve(inputs, rtol=1e-10)
    prediction = surrogate.predict(inputs)
    assert prediction.certificate is None  # nothing vouches for a network
    pk.plot.save(pk.plot.prediction_figure(inputs, truth, prediction), f"prediction_{points}.png")
    solution = truth["solution"]
    return mean_error(prediction["solution"], solution), mean_error(solution.mean(dim=0, keepdim=True), solution)


same_grid, baseline = evaluate(32)
finer_grid, _ = evaluate(48)
print(f"relative L2 error: {same_grid:.3f} at 32 x 32 points as trained, {finer_grid:.3f} at 48 x 48")
print(f"                   {baseline:.3f} for the mean of the solutions as a guess for each")
assert same_grid < baseline / 2
assert finer_grid < 2 * same_grid  # an operator, not an image network

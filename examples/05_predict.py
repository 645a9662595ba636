"""Load the surrogate that 04_train_surrogate.py saved, predict, compare with the solver, try a finer grid."""

import pdekit as pk

surrogate = pk.load("runs/example/model")
coefficient = pk.fields.Threshold(pk.fields.GaussianField(alpha=2, tau=3), low=3, high=12)


def relative_error(points: int) -> float:
    """Mean relative L2 error over 16 held-out problems with this many points a side."""
    family = pk.families.Darcy(pk.Grid((points, points)), coefficient=coefficient)
    inputs = family.draw(range(16), seed=0, split="test")
    truth = family.solve(inputs, rtol=1e-10)
    prediction = surrogate.predict(inputs)  # no certificate: nothing vouches for a network
    assert prediction.certificate is None
    if points == 32:
        pk.plot.save(pk.plot.prediction_figure(inputs, truth, prediction), "prediction.png")
    error = (prediction["solution"] - truth["solution"]).flatten(1).norm(dim=1)
    return float((error / truth["solution"].flatten(1).norm(dim=1)).mean())


same_grid, finer_grid = relative_error(32), relative_error(48)
print(f"relative L2 error: {same_grid:.3f} at 32 x 32 points as trained, {finer_grid:.3f} at 48 x 48")
assert same_grid < 0.15
assert finer_grid < 2 * same_grid  # an operator, not an image network

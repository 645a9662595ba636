"""Pictures show the fields the right way round, on the right scales, and are written whole or not at all."""

import numpy as np
import pytest
import torch

from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.plot import history_figure, plot_fields, prediction_figure, regret_figure, samples_figure, save
from pdekit.samples import FieldSpec, Inputs, Samples, Schema


def images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_axis_0_runs_to_the_right_and_axis_1_up():
    grid = Grid((5, 9), box=((0, 1), (0, 2)))
    figure = plot_fields({"y": grid.points()[..., 1]}, grid)
    (image,) = images(figure)
    shown = np.asarray(image.get_array())
    assert shown.shape == (9, 5)
    np.testing.assert_allclose(shown[:, 0], np.linspace(0, 2, 9))
    assert image.origin == "lower"
    assert figure.axes[0].get_ylim() == (0.0, 2.0)


def test_the_far_end_of_a_periodic_axis_repeats_the_first_point():
    grid = Grid((6, 4), closed=(True, False))
    shown = np.asarray(images(plot_fields({"u": torch.rand(6, 4)}, grid))[0].get_array())
    assert shown.shape == (5, 6)
    np.testing.assert_array_equal(shown[0], shown[-1])


def test_one_dimension_is_a_line_and_units_stand_in_the_title():
    grid = Grid((33,))
    u = torch.sin(grid.coordinates(0))
    figure = plot_fields({"u": u, "v": -u}, grid, units={"u": "K", "v": "1"}, title="two fields")
    assert [axes.get_title() for axes in figure.axes] == ["u [K]", "v"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), u)


def test_three_dimensions_show_three_middle_slices_on_one_scale():
    grid = Grid((5, 7, 9))
    field = torch.rand(5, 7, 9)
    figure = plot_fields({"u": field}, grid)
    shown = images(figure)
    assert len(shown) == 3
    np.testing.assert_array_equal(np.asarray(shown[1].get_array()), field[:, 3, :].double().T)
    assert len({image.get_clim() for image in shown}) == 1
    assert figure.axes[2].get_title().endswith("z = 0.5")


def test_a_field_of_both_signs_is_centred_at_zero():
    grid = Grid((9, 9))
    field = grid.points()[..., 0] - 0.4
    low, high = images(plot_fields({"u": field}, grid))[0].get_clim()
    assert low == -high


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no field to plot"),
        ({"u": torch.ones(4, 5)}, r"u has shape \(4, 5\).*swapped"),
        ({"u": torch.ones(2, 5, 4)}, r"Plot one sample: u\[0\]"),
    ],
)
def test_what_cannot_be_plotted_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        plot_fields(fields, Grid((5, 4)))


def test_nan_and_constant_fields_are_drawn(tmp_path):
    grid = Grid((5, 5))
    field = torch.ones(5, 5)
    holed = field.clone()
    holed[0, 0] = torch.nan
    save(plot_fields({"constant": field, "holed": holed, "empty": field * torch.nan}, grid), tmp_path / "odd.png")
    assert (tmp_path / "odd.png").read_bytes().startswith(b"\x89PNG")


def test_save_makes_folders_and_refuses_unknown_endings(tmp_path):
    figure = plot_fields({"u": torch.ones(5, 5)}, Grid((5, 5)))
    path = save(figure, tmp_path / "new" / "u.pdf")
    assert path.read_bytes().startswith(b"%PDF")
    with pytest.raises(InputError, match=r"u\.h5.*png"):
        save(figure, tmp_path / "u.h5")
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["u.pdf"]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    figure = plot_fields({"u": torch.ones(5, 5)}, Grid((5, 5)))

    def full_disk(path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(figure, tmp_path / "u.png")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def darcy_like():
    schema = Schema(Grid((9, 9)), (FieldSpec("coefficient", "input"), FieldSpec("solution", "output", "K")))
    inputs = Inputs(schema, {"coefficient": torch.rand(4, 9, 9)})
    solution = 1 + torch.rand(4, 9, 9)
    truth = Samples(schema, {**inputs.fields, "solution": solution})
    prediction = Samples(schema, {**inputs.fields, "solution": 1.02 * solution})
    return inputs, truth, prediction


def test_predictions_stand_beside_the_truth_on_its_scale(darcy_like):
    figure = prediction_figure(*darcy_like, rows=2)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles[:4] == ["coefficient", "solution [K]", "prediction [K]", "|error| [K], relative L2 2.00%"]
    shown = images(figure)
    assert len(shown) == 8
    assert shown[1].get_clim() == shown[2].get_clim() != shown[3].get_clim()


def test_samples_that_are_not_drawn_do_not_set_the_scale(darcy_like):
    inputs, truth, prediction = darcy_like
    expected = (float(inputs["coefficient"][:2].min()), float(inputs["coefficient"][:2].max()))
    inputs["coefficient"][2:] = 1e6
    truth["coefficient"][2:] = 1e6
    for figure in (prediction_figure(inputs, truth, prediction, rows=2), samples_figure(truth, rows=2)):
        scales = [image.get_clim() for image in images(figure) if image.axes.get_title() == "coefficient"]
        assert scales == [expected, expected]


def test_predictions_of_another_number_of_samples_are_refused(darcy_like):
    inputs, truth, prediction = darcy_like
    with pytest.raises(InputError, match="4 inputs, 4 true samples and 2 predictions"):
        prediction_figure(inputs, truth, prediction[:2])


def test_histories_of_small_and_large_batches():
    small = 0.1 ** torch.arange(9.0)[:, None].expand(9, 3)
    large = 0.5 ** torch.arange(20.0)[:, None].expand(20, 40).clone()
    large[10:, :20] = torch.nan
    figure = history_figure({"multigrid": small, "Jacobi": large}, tolerance=1e-8)
    (axes,) = figure.axes
    assert len(axes.lines) == 3 + 1 + 1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "multigrid",
        "Jacobi (median of the batch)",
        "tolerance 1e-08",
    ]
    with pytest.raises(InputError, match="no history"):
        history_figure({})


def test_regret_is_drawn_line_by_line():
    (axes,) = regret_figure([10, 20], {"omega = 1": [5.0, 10.0], "bandit": [4.0, 6.0]}, unit="iterations").axes
    assert [line.get_label() for line in axes.lines] == ["omega = 1", "bandit", "best fixed choice"]
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[10, 4], [20, 6]])
    with pytest.raises(InputError, match="no regret"):
        regret_figure([10], {})
    with pytest.raises(InputError, match="'bandit' has 2 points; expected 1"):
        regret_figure([10], {"bandit": [1.0, 2.0]})


def test_samples_stand_in_rows_and_share_the_scale_of_their_inputs(darcy_like):
    inputs, truth, _ = darcy_like
    shown = images(samples_figure(truth, rows=2))
    assert len(shown) == 4
    assert shown[0].get_clim() == shown[2].get_clim()
    assert len(images(samples_figure(inputs, rows=9))) == 4
    with pytest.raises(InputError, match="no samples"):
        samples_figure(truth[:0])

"""Configurations: what they become, and what is said about those that cannot be used."""

import pickle
from pathlib import Path

import pytest
import torch
import yaml

from pdekit.core.errors import ConfigError
from pdekit.core.expressions import Expression
from pdekit.domain import Rectangle
from pdekit.families import Darcy, Family
from pdekit.fields import Threshold
from pdekit.nn import FNO
from pdekit.solvers import CG, Multigrid
from pdekit.train.build import Names, build
from pdekit.train.config import config_from, load_config
from pdekit.train.yamlfile import override, parse_overrides, read_yaml, to_yaml

HERE = Path(__file__).parent
TINY = HERE / "tiny.yaml"


def tiny(*words):
    return load_config(TINY, parse_overrides(words))


def message(*words):
    with pytest.raises(ConfigError) as caught:
        tiny(*words)
    return str(caught.value)


def test_the_file_becomes_objects():
    config = tiny()
    assert isinstance(config.family, Darcy)
    assert isinstance(config.family.coefficient, Threshold)
    assert config.family.schema.domain.shape == (17, 17)
    model = config.model(1, 1)
    assert isinstance(model, FNO)
    optimizer = config.optimizer(model.parameters())
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["lr"] == 5e-3
    assert config.stream["capacity"] == 64


def test_schedules_are_told_the_length_and_the_peak():
    config = tiny()
    optimizer = config.optimizer([torch.nn.Parameter(torch.zeros(1))])
    schedule = config.schedule(optimizer)
    assert schedule.total_steps == 12
    assert max(group["max_lr"] for group in optimizer.param_groups) == 5e-3
    cosine = tiny("--schedule", "CosineAnnealingLR")
    assert cosine.schedule(optimizer).T_max == 12


def test_the_network_gets_the_dimension_of_the_family():
    config = tiny("--family.domain.shape", "[9, 9, 9]", "--model.modes", "3")
    assert config.model(1, 1)(torch.zeros(1, 9, 9, 9, 1)).shape == (1, 9, 9, 9, 1)
    assert "the family has 2 dimensions" in message("--model.dim", "3")


def test_the_resolved_configuration_repeats_itself():
    resolved = tiny("--solver", "CG", "--solver.preconditioner", "Multigrid").resolved
    text = to_yaml(resolved)
    again = config_from(yaml.safe_load(text))
    assert again.resolved == resolved
    assert again.solver == CG(Multigrid())
    assert "pdekit." not in text


def test_quickstart_is_a_configuration():
    config = load_config(HERE.parents[1] / "configs" / "quickstart.yaml")
    assert config.evaluation.rtol == 1e-10
    assert config.family.schema.domain.shape == (64, 64)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--family", "Dracy"], "family: there is no class 'Dracy'. Did you mean Darcy? Known: AdvectionDiffusion"),
        (["--family.coefficient.hgih", "3"], "Threshold has no argument 'hgih'. Did you mean high?"),
        (["--family.coefficient", "FNO"], "family.coefficient: FNO is no RandomField. Known: Constant, GaussianField"),
        (["--family.domain.shpe", "[3,3]"], "family.domain.shpe: Grid has no argument 'shpe'. Did you mean shape?"),
        (["--family.domain.shape", "[2,9]"], "Grid axis x has 2 points"),
        (["--family.coefficient.field.alpha", "abc"], "family.coefficient.field.alpha is abc: expected float"),
        (["--family.coefficient.field.boundary", "neuman"], "expected one of 'neumann', 'dirichlet', 'periodic'"),
        (["--model.width", "wide"], "model.width is wide: expected int"),
        (["--model.widht", "3"], "Did you mean width?"),
        (["--model", "FNOO"], "model: there is no class 'FNOO'. Did you mean FNO?"),
        (["--model.in_channels", "3"], "FNO has no argument 'in_channels'"),
        (["--optimizer", "Adamm"], "optimizer: there is no class 'Adamm'. Did you mean Adam?"),
        (["--solver", "Multigrid"], "solver: Multigrid is no Method. Known: Auto, "),
        (["--solver", "CG", "--solver.preconditioner", "Multigrd"], "solver.preconditioner: there is no class"),
        (["--stream.polcy", "fifo"], "stream.polcy: Stream has no argument 'polcy'. Did you mean policy?"),
        (["--stream.source", "3"], "stream.source: Stream has no argument 'source'"),
        (["--trainer.maxsteps", "3"], "Did you mean max_steps?"),
        (["--trainer.max_steps", "0"], "max_steps is 0; expected at least 1"),
        (["--evaluation.split", "train"], "the split that is trained on"),
        (["--task.model", "3"], "task.model: OperatorLearning has no argument"),
        (["--modle.width", "3"], "a run has no key 'modle'. Did you mean model?"),
        (["--out", "3"], "expected the name of a folder"),
        (["--family.domain", "null"], "family.domain is null"),
        (["--family.grid.shape", "[9, 9]"], "Darcy has no argument 'grid'. Did you mean domain?"),
        (["--family.coefficient", "Constant"], "family.coefficient.value is missing; Constant needs it"),
        (["--family.boundaries", "[{where: left, knd: neumann}]"], "family.boundaries[0].knd: Boundary has no"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_key(words, expected):
    assert expected in message(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["--family", "stranger.Family"],
        ["--family.coefficient", "stranger.Field"],
        ["--family.source", "stranger.function"],
        ["--family.boundaries", "[{where: left, kind: neumann, value: stranger.function}]"],
        ["--model", "stranger.Model"],
        ["--optimizer", "stranger.Optimizer"],
        ["--task.class_path", "stranger.Task"],
        ["--model", "pdekitstranger.Model"],
        ["--model", "torch.nn.Linear"],
    ],
)
def test_classes_outside_pdekit_are_not_even_imported(words, tmp_path, monkeypatch):
    for name in ("stranger", "pdekitstranger"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('its code ran')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "pass --allow" in message(*words)


def test_allow_trusts_one_module():
    config = load_config(TINY, [("model", {"class_path": "torch.nn.Linear"})], allow=["torch.nn"])
    assert isinstance(config.model(2, 3), torch.nn.Linear)


@pytest.mark.parametrize("key", ["family", "model", "out"])
def test_missing_keys_are_named(key):
    content = read_yaml(TINY)
    del content[key]
    with pytest.raises(ConfigError, match=f"'{key}' is missing"):
        config_from(content)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("family: !!python/object/apply:os.system ['true']", "line 1"),
        ("a: &x [1]\nb: *x", "references"),
        ("a: 1\na: 2", "given twice"),
        ("a: [1", "line 1"),
        ("- 1", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: " + "x" * 1_000_001, "bytes"),
    ],
)
def test_files_that_are_no_plain_yaml(tmp_path, text, expected):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=expected):
        read_yaml(tmp_path / "bad.yaml")


def test_other_files(tmp_path):
    (tmp_path / "pickle.yaml").write_bytes(pickle.dumps(torch.nn.Linear(1, 1)))
    with pytest.raises(ConfigError):
        read_yaml(tmp_path / "pickle.yaml")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "missing.yaml")


def test_numbers_in_scientific_notation_are_numbers(tmp_path):
    (tmp_path / "n.yaml").write_text("a: 1e-5\nb: 1.0e-5\nc: 2E+3\nd: e5\n")
    assert read_yaml(tmp_path / "n.yaml") == {"a": 1e-5, "b": 1e-5, "c": 2e3, "d": "e5"}


def test_overrides_reach_below_classes():
    config = {"model": {"class_path": "FNO", "init_args": {"width": 8, "modes": 4}}}
    override(config, "model", "FNO")
    override(config, "model.width", 16)
    assert config == {"model": {"class_path": "FNO", "init_args": {"width": 16, "modes": 4}}}
    override(config, "model", "Other")
    override(config, "model.depth", 2)
    assert config == {"model": {"class_path": "Other", "init_args": {"depth": 2}}}


@pytest.mark.parametrize("words", [["--a"], ["a", "1"], ["--a", "--b", "1"], ["--a", "[1"]])
def test_overrides_that_make_no_sense(words):
    with pytest.raises(ConfigError):
        parse_overrides(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--optimizer.lr", "-1"), "optimizer: Invalid learning rate"),
        (("--schedule.pct_start", "7"), "schedule: .*pct_start"),
        (("--trainer.gradient_clip_val", "-1"), "gradient_clip_val is -1"),
        (("--evaluation.samples", "0"), "evaluation: samples is 0"),
        (("--evaluation.validation", "-1"), "validation -1"),
        (("--evaluation.rtol", "0"), "evaluation: rtol is 0"),
        (("--out", '""'), "expected the name of a folder"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused_before_anything_is_solved(words, expected):
    with pytest.raises(ConfigError, match=expected):
        tiny(*words)


MEDIUM = {"class_path": "LogNormal", "init_args": {"field": {"class_path": "GaussianField", "init_args": {
    "alpha": 2, "tau": 3}}}}  # fmt: skip


def on_mesh(path="bracket.msh", coefficient=MEDIUM, value=0.0):
    domain = {"class_path": "MeshFile", "init_args": {"path": path, "refinements": 1}}
    parts = [{"where": "left", "kind": "dirichlet", "value": value}]
    arguments = {"domain": domain, "coefficient": coefficient, "source": MEDIUM, "boundaries": parts}
    names = Names().check({"class_path": "Darcy", "init_args": arguments}, Family, "family")
    return build("family", Family, names)


def test_the_name_of_a_mesh_file_is_no_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Rectangle(cells=2).mesh().write("bracket.msh")
    family, resolved = on_mesh()
    assert family.place.n_cells == 32
    assert resolved["init_args"]["domain"]["init_args"]["path"] == "bracket.msh"
    with pytest.raises(ConfigError, match=r"missing\.msh"):
        on_mesh("missing.msh")
    with pytest.raises(ConfigError, match="pass --allow bracket"):
        on_mesh(value="bracket.msh")  # a function could be meant


@pytest.mark.parametrize("formula", ["1+x**2", {"class_path": "Expression", "init_args": {"text": "1+x**2"}}])
def test_formulas_in_files(formula, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Rectangle(cells=2).mesh().write("bracket.msh")
    family, resolved = on_mesh(coefficient=formula, value="x+y")
    assert family.coefficient == Expression("1+x**2")
    assert family.boundaries[0].value == Expression("x+y")
    again, _ = build("family", Family, Names().check(resolved, Family, "family"))
    assert again == family
    with pytest.raises(ConfigError, match="__import__"):
        on_mesh(coefficient="__import__('os').system('ls')")

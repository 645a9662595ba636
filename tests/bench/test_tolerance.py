"""The quickstart with labels of several tolerances; small versions, whose figures are no evidence."""

from copy import deepcopy
from pathlib import Path

import pytest

from pdekit.bench import tolerance
from pdekit.bench.harness import run
from pdekit.train import config_from, load_config

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def test_what_is_measured_is_the_quickstart():
    """All but the tolerance of the labels, which is measured, and what makes the sides comparable."""
    ours, file = (
        config_from(tolerance.QUICKSTART | {"out": "runs/quickstart"}).resolved,
        load_config(QUICKSTART).resolved,
    )
    for resolved in (ours, file):
        resolved = resolved["stream"]
        del resolved["rtol"], resolved["schedule"]
    del ours["evaluation"]["validation"], file["evaluation"]["validation"]
    assert ours == file


def test_every_side_trains_on_the_same_problems(monkeypatch):
    monkeypatch.setattr(tolerance, "SIDES", {s: tolerance.SIDES[s] for s in ("controller", "1e-8")})
    configurations = []
    monkeypatch.setattr(tolerance, "config_from", lambda c: configurations.append(deepcopy(c)) or config_from(c))
    report = run(tolerance.BENCHMARK, quick=True, say=lambda line: None)
    ours, exact = report["rows"]
    assert ours["samples"] == exact["samples"]
    assert ours["iterations"] < exact["iterations"]
    values = {claim["id"]: claim["value"] for claim in report["claims"]}
    assert values["tolerance.saved"] == pytest.approx(1 - ours["iterations"] / exact["iterations"])
    assert values["tolerance.error"] == pytest.approx(ours["test_rel_l2"] / exact["test_rel_l2"])
    for content in configurations:
        del content["stream"]["rtol"], content["out"]
    assert configurations[0] == configurations[1]

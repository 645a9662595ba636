"""The harness computes what holds; benchmarks only record numbers."""

import json
import math

import pytest

from pdekit.bench.harness import Benchmark, Claim, Peer, run, write_json
from pdekit.bench.timing import Processes, alternate
from pdekit.core.errors import InputError, MissingPeer

CLAIMS = (Claim("fake.iterations", "<=", 10, "iterations"), Claim("fake.faster", ">=", 2.0, "times faster"))


def measure(session):
    for seed in range(session.seeds):
        if session.wants("fake.iterations"):
            for iterations in (7, 9 + seed):
                session.row(seed=seed, iterations=iterations)
                session.record("fake.iterations", iterations, seed=seed)
        if session.wants("fake.faster"):
            session.record("fake.faster", 1.5, seed=seed)


FAKE = Benchmark("fake", CLAIMS, measure)


def quietly(**options):
    return run(FAKE, say=lambda line: None, **options)


def test_worst_case_within_a_seed_and_median_over_seeds():
    report = quietly(seeds=5)
    iterations, faster = report["claims"]
    assert iterations["per_seed"] == [9, 10, 11, 12, 13]
    assert (iterations["value"], iterations["holds"]) == (11, False)
    assert (faster["value"], faster["holds"]) == (1.5, False)


def test_claims_that_hold():
    assert quietly()["claims"][0]["holds"] is True


def test_only_measures_what_is_asked_for():
    assert [claim["id"] for claim in quietly(only=["fake.faster"])["claims"]] == ["fake.faster"]


def test_unknown_claim_names_the_nearest():
    with pytest.raises(InputError, match=r"no claim 'fake.fastr'. Did you mean fake.faster"):
        quietly(only=["fake.fastr"])


def test_recording_an_undeclared_claim_is_refused():
    stray = Benchmark("stray", CLAIMS, lambda session: session.record("fake.other", 1.0, seed=0))
    with pytest.raises(InputError, match="declares no claim"):
        run(stray, say=lambda line: None)


def test_nan_never_holds():
    for sense in ("<=", ">="):
        claim = Claim("x", sense, 1.0, "")
        assert not claim.holds(math.nan)
        assert math.isnan(claim.worst([1.0, math.nan]))


def test_missing_peer_prints_its_install_line():
    lonely = Benchmark("lonely", CLAIMS, measure, peers=(Peer("no_such_package_here", "no-such-package>=1"),))
    with pytest.raises(MissingPeer, match=r"pip install 'no-such-package>=1'"):
        run(lonely, say=lambda line: None)


def test_json_is_strict_and_names_no_place_or_person(tmp_path):
    report = quietly()
    report["rows"].append({"broken": math.nan})
    write_json(report, tmp_path / "deep" / "fake.json")
    text = (tmp_path / "deep" / "fake.json").read_text()
    back = json.loads(text)
    assert back["rows"][-1]["broken"] is None
    assert set(back["machine"]) == {"cpu", "cores", "memory_gib", "system", "python"}
    assert "/" not in json.dumps(back["machine"])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["fake.json"]


def test_alternate_takes_turns():
    calls = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert set(seconds) == {"a", "b"}


def double(part):
    if part is None:
        raise ValueError("nothing to do")
    return 2 * part


def test_processes_keep_their_parts_and_pass_errors_on():
    with Processes(double, [1, 20]) as both:
        assert both() == [2, 40]
        assert both() == [2, 40]
    with Processes(double, [None]) as broken, pytest.raises(RuntimeError, match="nothing to do"):
        broken()

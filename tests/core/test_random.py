"""Oracles: the known-answer vectors of Random123; a plain Python Philox with math.log, cos, sin; scipy.stats."""

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
import torch

from pdekit.core import InputError
from pdekit.core.random import Keys, _philox, for_each, normal, normal_lattice, uniform

MASK = 0xFFFFFFFF


def plain_philox(counter, key):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def unit(low, high):
    return (high >> 5) * 2**26 + (low >> 6)


def plain_normal(key, counter):
    words = plain_philox((counter[0] >> 1 & MASK, counter[1] & MASK, counter[2] & MASK, 0), (key & MASK, key >> 32))
    radius = math.sqrt(-2 * math.log((unit(words[0], words[1]) + 1) / 2**53))
    angle = 2 * math.pi * unit(words[2], words[3]) / 2**53
    return radius * (math.sin(angle) if counter[0] % 2 else math.cos(angle))


KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter, key, expected):
    words = np.array([[int(w, 16)] for w in counter.split()], dtype=np.uint64)
    low, high = (int(w, 16) for w in key.split())
    _philox(words, np.uint64(low | high << 32), 1)
    assert [f"{int(w):08x}" for w in words[:, 0]] == expected.split()


def test_normals_equal_plain_python():
    keys = Keys(3, "test", [0, 17]).named("field")
    counters = [[0, 0, 0], [1, 0, 0], [5, 2, 9], [-3, 7, -1], [2**31 - 1, -(2**31), 4]]
    expected = [[plain_normal(int(k), c) for c in counters] for k in keys]
    np.testing.assert_allclose(normal(keys, counters), expected, rtol=0, atol=5e-15)


def test_uniforms_equal_plain_python():
    (key,) = (int(k) for k in Keys(3, "test", [0]).named("field"))
    words = plain_philox((1, 0, 0, 1), (key & MASK, key >> 32))
    expected = [unit(words[0], words[1]) / 2**53, unit(words[2], words[3]) / 2**53]
    assert uniform(Keys(3, "test", [0]).named("field"), 4)[0, 2:].tolist() == expected


@pytest.mark.parametrize("shape", [(7,), (6, 5), (3, 4, 700)])
def test_lattice_equals_single_counters(shape):
    keys = Keys(0, "train", range(2)).named("a")
    counters = np.zeros((math.prod(shape), 3), dtype=np.int64)
    counters[:, : len(shape)] = np.indices(shape).reshape(len(shape), -1).T
    np.testing.assert_array_equal(normal_lattice(keys, shape).reshape(2, -1), normal(keys, counters))


def test_same_bits_whatever_batch_order_and_threads():
    indices = [9, 2, 40, 7, 3, 11]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        whole = normal_lattice(Keys(1, "train", indices).named("a"), (64, 512))
        numbers = uniform(Keys(1, "train", indices).named("a"), 99)
    finally:
        torch.set_num_threads(threads)
    for row, index in enumerate(indices):
        key = Keys(1, "train", [index]).named("a")
        np.testing.assert_array_equal(normal_lattice(key, (64, 512))[0], whole[row])
        np.testing.assert_array_equal(normal_lattice(key, (31, 512))[0], whole[row, :31])
        np.testing.assert_array_equal(uniform(key, 40)[0], numbers[row, :40])


def test_normal_moments_and_distribution():
    z = normal_lattice(Keys(0, "train", range(64)).named("a"), (128, 128)).ravel()
    n = z.size
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert scipy.stats.kstest(z[:200_000], "norm").pvalue > 1e-3
    assert abs(z).max() > 4.5


def test_uniform_distribution():
    u = uniform(Keys(0, "train", range(100)).named("a"), 2001).ravel()
    assert u.min() >= 0
    assert u.max() < 1
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3


def test_neighbouring_keys_are_independent():
    variants = {
        "index": Keys(0, "train", [0, 1]).named("a"),
        "seed": Keys(1, "train", [0]).named("a"),
        "split": Keys(0, "test", [0]).named("a"),
        "attempt": Keys(0, "train", [0], attempt=1).named("a"),
        "name": Keys(0, "train", [0]).named("b"),
    }
    z = normal_lattice(np.concatenate(list(variants.values())), (200, 200)).reshape(6, -1)
    pairs = list(combinations(range(6), 2))
    correlations = [float(np.corrcoef(z[i], z[j])[0, 1]) for i, j in pairs]
    assert max(abs(c) for c in correlations) < 4.5 / 200
    # neighbouring counters of one key: along each axis, and the two outputs of one Box-Muller pair, also squared
    field = z[0].reshape(200, 200)
    for one, other in [(field[:-1], field[1:]), (field[:, :-1], field[:, 1:]), (field[::2], field[1::2])]:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4.5 / 140
        assert abs(np.corrcoef(one.ravel() ** 2, other.ravel() ** 2)[0, 1]) < 4.5 / 140


def test_keys_are_distinct_and_unambiguous():
    keys = np.concatenate(
        [
            Keys(s, split, range(200), a).named(n)
            for s in (0, 1, 2)
            for split in ("a", "ab")
            for a in (0, 1)
            for n in ("", "b")
        ]
    )
    assert len(np.unique(keys)) == len(keys) == 4800
    assert Keys(0, "ab", [0]).named("c")[0] != Keys(0, "a", [0]).named("bc")[0]
    assert Keys(0, "a", torch.tensor([5])).named("c")[0] == Keys(0, "a", [5]).named("c")[0]


def test_keys_never_change():
    assert [hex(int(k)) for k in Keys(0, "train", [0, 1]).named("coefficient")] == PINNED


PINNED = ["0x740cd40ee1d3dfe0", "0xe96d4d12ccf6984"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Keys(0, "a", [0, -4]), r"indices\[1\] is -4"),
        (lambda: Keys(2**64, "a", [0]), "seed is"),
        (lambda: Keys(0.5, "a", [0]), "seed is 0.5; expected an integer"),
        (lambda: Keys(0, "a", [0], attempt=-1), "attempt is -1"),
        (lambda: normal(Keys(0, "a", [0]).named("b"), [[0, 1]]), r"shape \(m, 3\)"),
        (lambda: normal(Keys(0, "a", [0]).named("b"), [[0, 1, 2**31]]), "more than 32 bits"),
        (lambda: uniform(np.zeros(3), 2), "expected uint64"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_for_each_passes_errors_on():
    def fail(i):
        raise RuntimeError(f"sample {i}")

    with pytest.raises(RuntimeError, match="sample"):
        for_each(fail, 4, seconds=1.0)

"""Counter-based randomness: numbers that are pure functions of a key and a counter.

A key is a 64-bit hash of (seed, split, index, attempt, name). The generator Philox-4x32-10 turns a key and a counter
into 128 random bits, so that every number is the same whatever the batch it is drawn in, its place there, the order of
the calls or the number of threads. Logarithm, sine and cosine are our own polynomials, without fused operations, so
that the bits do not depend on a mathematics library either.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; Box and Muller 1958.
"""

import hashlib
import operator
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numba import njit

from pdekit.core.errors import InputError

__all__ = [
    "FloatArray",
    "KeyArray",
    "Keys",
    "NormalLattice",
    "as_keys",
    "for_each",
    "normal",
    "normal_lattice",
    "uniform",
]

KeyArray = npt.NDArray[np.uint64]
FloatArray = npt.NDArray[np.float64]

_NORMAL, _UNIFORM = 0, 1  # the fourth counter word tells the uses of one key apart
_LANES = 512


@dataclass(frozen=True)
class Keys:
    """What a batch of samples draws its random numbers from.

    Args:
        seed: of the whole experiment, from 0 to 2^64 - 1.
        split: ``train``, ``validation``, ``test`` or any other word.
        indices: sample numbers, not negative.
        attempt: 0, or the number of the redraw.

    Raises:
        InputError: a seed, index or attempt out of range.

    Example:
        >>> keys = Keys(0, "train", [4, 5]).named("coefficient")
        >>> keys.dtype, keys.shape
        (dtype('uint64'), (2,))
        >>> bool(keys[1] == Keys(0, "train", [5]).named("coefficient")[0])
        True
    """

    seed: int
    split: str
    indices: Sequence[int]
    attempt: int = 0

    def __post_init__(self):
        _check_integer("seed", self.seed, 0, 2**64)
        _check_integer("attempt", self.attempt, 0, 2**32)
        for position, index in enumerate(self.indices):
            _check_integer(f"indices[{position}]", index, 0, 2**63)

    def named(self, name: str) -> KeyArray:
        """One key per sample for the random input of that name, ``(batch,)`` uint64."""
        head = hashlib.blake2b(digest_size=8, person=b"pdekit-keys-1")
        for word in (self.split, name):
            encoded = word.encode()
            head.update(struct.pack("<Q", len(encoded)) + encoded)
        head.update(struct.pack("<QQ", operator.index(self.seed), operator.index(self.attempt)))
        keys = np.empty(len(self.indices), dtype=np.uint64)
        for position, index in enumerate(self.indices):
            one = head.copy()
            one.update(struct.pack("<Q", operator.index(index)))
            keys[position] = int.from_bytes(one.digest(), "little")
        return keys


def _check_integer(name: str, value: int, least: int, limit: int) -> None:
    try:
        inside = least <= operator.index(value) < limit
    except TypeError:
        raise InputError(f"{name} is {value!r}; expected an integer.") from None
    if not inside:
        raise InputError(f"{name} is {value}; expected an integer from {least} to {limit - 1}.")


def uniform(keys: KeyArray, count: int) -> FloatArray:
    """Uniform numbers of [0, 1), multiples of 2^-53.

    Args:
        keys: ``(batch,)`` uint64, of :meth:`Keys.named`.
        count: numbers per key; a longer draw begins with the numbers of a shorter one.

    Returns:
        ``(batch, count)`` float64.

    Example:
        >>> uniform(Keys(0, "train", range(3)).named("viscosity"), 2).shape
        (3, 2)
    """
    keys = as_keys(keys)
    out = np.empty((len(keys), 2 * ((count + 1) // 2)))
    for_each(lambda i: _fill_uniform(keys[i], out[i]), len(keys), len(keys) * count * 4e-9)
    return out[:, :count]


def normal(keys: KeyArray, counters: npt.ArrayLike) -> FloatArray:
    """Standard normal numbers at arbitrary counters.

    Args:
        keys: ``(batch,)`` uint64, of :meth:`Keys.named`.
        counters: ``(m, 3)`` integers of at most 32 bits, for instance wave numbers.

    Returns:
        ``(batch, m)`` float64; entry (i, j) depends on ``keys[i]`` and ``counters[j]`` alone.

    Raises:
        InputError: counters of another shape or beyond 32 bits.

    Example:
        >>> keys = Keys(0, "train", [7]).named("coefficient")
        >>> bool(normal(keys, [[3, 1, 0]])[0, 0] == normal_lattice(keys, (4, 2))[0, 3, 1])
        True
    """
    triples = np.asarray(counters)
    if triples.ndim != 2 or triples.shape[1] != 3 or triples.dtype.kind not in "iu":
        raise InputError(f"counters are {triples.dtype} of shape {triples.shape}; expected integers of shape (m, 3).")
    if triples.size and not -(2**31) <= int(triples.min()) <= int(triples.max()) < 2**31:
        raise InputError("counters need more than 32 bits; expected -2^31 <= counter < 2^31.")
    keys, triples = as_keys(keys), triples.astype(np.int64)
    odd = (triples[:, 0] & 1).astype(bool)
    c0, c1, c2 = (np.ascontiguousarray(c & 0xFFFFFFFF).astype(np.uint64) for c in (triples >> [1, 0, 0]).T)
    first, second = np.empty((2, len(keys), 1, len(triples)))
    work = first.size * 12e-9
    for_each(lambda i: _fill_normal(keys[i], c0, c1, c2, first[i], second[i]), len(keys), work)
    return np.where(odd, second[:, 0], first[:, 0])


def normal_lattice(keys: KeyArray, shape: tuple[int, ...]) -> FloatArray:
    """Standard normal numbers at the counters of a whole lattice, twice as fast as :func:`normal`.

    Args:
        keys: ``(batch,)`` uint64, of :meth:`Keys.named`.
        shape: 1 to 3 extents; missing counters are 0.

    Returns:
        ``(batch, *shape)`` float64, entry (i, j0, j1, j2) being ``normal(keys, [[j0, j1, j2]])[i, 0]``.
    """
    keys = as_keys(keys)
    lattice = NormalLattice(shape)
    out = np.empty((len(keys), *lattice.padded))
    for_each(lambda i: lattice.fill(keys[i], out[i]), len(keys), out.size * 6e-9)
    return out[:, : shape[0]]


class NormalLattice:
    """Fills arrays with the numbers of :func:`normal_lattice`, one key at a time and without holding the GIL.

    The two numbers that Box-Muller makes of one counter belong to neighbours along the first axis, which is therefore
    padded to an even length.

    Args:
        shape: 1 to 3 extents.
    """

    def __init__(self, shape: tuple[int, ...]):
        self.padded = (shape[0] + shape[0] % 2, *shape[1:])
        inner = np.indices((1, *shape[1:], *(1,) * (3 - len(shape)))).reshape(3, -1).astype(np.uint64)
        self._c0, self._c1, self._c2 = (np.ascontiguousarray(c) for c in inner)

    def fill(self, key: np.uint64, out: FloatArray) -> None:
        """Write the numbers of one key into ``out``, float64 of shape ``padded``, contiguous."""
        pairs = out.reshape(out.shape[0] // 2, 2, -1)
        _fill_normal(key, self._c0, self._c1, self._c2, pairs[:, 0], pairs[:, 1])


def for_each(task: Callable[[int], None], count: int, seconds: float) -> None:
    """Call ``task(i)`` for i < count, on the threads torch may use where the work is worth starting them.

    Args:
        task: releases the GIL most of its time; writes its own part of the result, so that the order is free.
        count: number of calls.
        seconds: estimate of the whole work on one core.
    """
    threads = min(torch.get_num_threads(), count)
    if threads < 2 or seconds < 1e-3:
        for i in range(count):
            task(i)
        return

    def run(part: int) -> None:
        for i in range(part, count, threads):
            task(i)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))


def as_keys(keys: KeyArray) -> KeyArray:
    keys = np.asarray(keys)
    if keys.dtype != np.uint64 or keys.ndim != 1:
        raise InputError(
            f"keys are {keys.dtype} of shape {keys.shape}; expected uint64 (batch,), of Keys(..).named(..)."
        )
    return keys


_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _philox(words, key, lanes):
    """Ten rounds on ``words`` (4, lanes), 32 bits each kept in uint64; one pass a round, so that it vectorises."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
    k0, k1 = key & mask, key >> half
    for _ in range(10):
        for i in range(lanes):
            p0 = np.uint64(0xD2511F53) * (w0[i] & mask)
            p1 = np.uint64(0xCD9E8D57) * (w2[i] & mask)
            w0[i] = (p1 >> half) ^ w1[i] ^ k0
            w2[i] = (p0 >> half) ^ w3[i] ^ k1
            w1[i] = p1 & mask
            w3[i] = p0 & mask
        k0 = (k0 + np.uint64(0x9E3779B9)) & mask
        k1 = (k1 + np.uint64(0xBB67AE85)) & mask


@_jit
def _unit(low, high):
    """53 bits of two words as an integer below 2^53, exact in float64."""
    return np.float64(np.int64(high >> np.uint64(5))) * 67108864.0 + np.float64(np.int64(low >> np.uint64(6)))


@_jit
def _fill_uniform(key, out):
    words = np.empty((4, out.shape[0] // 2), np.uint64)
    for i in range(words.shape[1]):
        words[0, i] = np.uint64(i)
        words[1, i] = words[2, i] = np.uint64(0)
        words[3, i] = np.uint64(_UNIFORM)
    _philox(words, key, words.shape[1])
    for i in range(words.shape[1]):
        out[2 * i] = _unit(words[0, i], words[1, i]) * 2.0**-53
        out[2 * i + 1] = _unit(words[2, i], words[3, i]) * 2.0**-53


@_jit
def _fill_normal(key, c0, c1, c2, first, second):
    """Box-Muller at the counters (c0 + row, c1, c2) of each lane; ``first`` and ``second`` are (rows, lanes)."""
    words = np.empty((4, _LANES), np.uint64)
    radius, angle, exponent = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES)
    bits = radius.view(np.int64)
    for row in range(first.shape[0]):
        for start in range(0, first.shape[1], _LANES):
            lanes = min(_LANES, first.shape[1] - start)
            for i in range(lanes):
                words[0, i] = c0[start + i] + np.uint64(row)
                words[1, i] = c1[start + i]
                words[2, i] = c2[start + i]
                words[3, i] = np.uint64(_NORMAL)
            _philox(words, key, lanes)
            for i in range(lanes):
                radius[i] = (_unit(words[0, i], words[1, i]) + 1.0) * 2.0**-53  # in (0, 1]: its logarithm is finite
                angle[i] = _unit(words[2, i], words[3, i]) * 2.0**-53
            for i in range(lanes):
                # radius = m 2^exponent with sqrt(1/2) < m < sqrt(2), by its bits (as in fdlibm)
                shifted = bits[i] + (np.int64(0x3FF00000 - 0x3FE6A09E) << np.int64(32))
                exponent[i] = np.float64((shifted >> np.int64(52)) - np.int64(1023))
                bits[i] = (shifted & np.int64(0xFFFFFFFFFFFFF)) + (np.int64(0x3FE6A09E) << np.int64(32))
            for i in range(lanes):
                radius[i] = np.sqrt(-2.0 * _log(radius[i] - 1.0, exponent[i]))
            for i in range(lanes):
                cosine, sine = _turn(angle[i])
                first[row, start + i] = radius[i] * cosine
                second[row, start + i] = radius[i] * sine


@_jit
def _log(f, exponent):
    """log((1 + f) 2^exponent) to one unit in the last place (fdlibm e_log)."""
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    low = s * (half + (even + odd)) + exponent * 1.90821492927058770002e-10
    return low - half + f + exponent * 6.93147180369123816490e-01


@_jit
def _turn(t):
    """Cosine and sine of 2 pi t for 0 <= t < 1 (fdlibm k_cos, k_sin on the nearest quarter turn)."""
    quarter = np.floor(4.0 * t + 0.5)
    x = (4.0 * t - quarter) * 1.5707963267948966
    z = x * x
    sine = x + x * z * (
        -1.66666666666666324348e-01
        + z
        * (
            8.33333333332248946124e-03
            + z
            * (
                -1.98412698298579493134e-04
                + z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10))
            )
        )
    )
    cosine = 1.0 - (
        0.5 * z
        - z
        * z
        * (
            4.16666666666666019037e-02
            + z
            * (
                -1.38888888888741095749e-03
                + z
                * (
                    2.48015872894767294178e-05
                    + z
                    * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11))
                )
            )
        )
    )
    if quarter == 1.0:
        return -sine, cosine
    if quarter == 2.0:
        return -cosine, -sine
    if quarter == 3.0:
        return sine, -cosine
    return cosine, sine

"""The stated budget bounds what a family solve takes: measured in a child process, beside the same solve without it.

What malloc keeps of freed memory differs from run to run by more than the budget; so large blocks go back at once.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pdekit.domain import Disk
from pdekit.families import Darcy
from pdekit.fields import GaussianField, LogNormal
from pdekit.solvers import CG, Jacobi

MEASURE = """
import ctypes
import re
from pathlib import Path
from pdekit.domain import Disk
from pdekit.families import Helmholtz, NonlinearDiffusion
from pdekit.fields import GaussianField, Uniform

def taken(what):
    return int(re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

def growth(family, inputs, memory):
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not to be used again unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = taken("VmRSS")
    family.solve(inputs, rtol=1e-6, memory=memory)
    return taken("VmHWM") - before

for family, count in (
    (Helmholtz(Disk(refinements=5), Uniform(3, 4), source=GaussianField(2, 3)), 48),
    (NonlinearDiffusion(Disk(refinements=4), GaussianField(2, 3, scale=500.0), Uniform(1, 3)), 64),
):
    inputs = family.draw(range(count), seed=0)
    family.solve(inputs, rtol=1e-6, memory="24MiB")  # compiled code, patterns, routing matrices
    print(growth(family, inputs, "24MiB"), growth(family, inputs, None))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
def test_the_peak_of_a_solve_stays_within_its_budget():
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16)}  # blocks from 64 KiB on are mapped on their own
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        bounded, free = map(float, line.split())
        assert bounded <= 24, f"{bounded:.0f} MiB of 24 MiB"
        assert free > 2 * bounded, "without a budget the whole batch is solved at once"


def test_parts_give_the_samples_of_the_whole():
    family = Darcy(Disk(refinements=3), LogNormal(GaussianField(alpha=2, tau=3)))
    inputs = family.draw(range(7), seed=0)
    whole, parts = (family.solve(inputs, rtol=1e-10, memory=memory) for memory in (None, "200kB"))
    assert (whole["solution"] - parts["solution"]).abs().max() < 1e-9
    assert parts.certificate.accepted.all()
    assert len(parts.certificate) == 7
    guess = family.solve(inputs, rtol=1e-4, method=CG(Jacobi()))
    better = family.solve(inputs, rtol=1e-8, method=CG(Jacobi()), guess=guess, memory="200kB")
    alone = family.solve(inputs, rtol=1e-8, method=CG(Jacobi()), memory="200kB")
    assert (better.certificate.iterations < alone.certificate.iterations).all()

"""Reads a file with random bytes flipped, again and again; in a process of its own, which a hang or crash ends.

Run as ``python damage.py FILE COUNT``; prints how often the file was refused.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from pdekit.core import InputError
from pdekit.samples.hdf5 import read


def refusals(path: Path, count: int) -> int:
    """How many of so many damaged versions of a file are refused, none of them with another error."""
    command = [sys.executable, __file__, str(path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def main(path: Path, count: int) -> None:
    content = path.read_bytes()
    refused = 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 20):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except InputError:
            refused += 1
    print(refused)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

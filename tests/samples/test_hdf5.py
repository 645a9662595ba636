"""Dataset files: round trip, bytes, full disks, strangers' files."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from samples.damage import refusals

import pdekit.samples.writer as writer_module
from pdekit.core import InputError
from pdekit.domain import Grid
from pdekit.samples import Certificate, FieldSpec, Identity, Samples, Schema
from pdekit.samples.hdf5 import DatasetWriter, DiskFull, read, read_metadata, write
from pdekit.samples.layout import set_attributes

SCHEMA = Schema(Grid((5, 4)), (FieldSpec("a", "input", "m2/s", "diffusivity"), FieldSpec("u", "output", "K")))


def batch(first: int, count: int, **identity) -> Samples:
    generator = torch.Generator().manual_seed(first)
    numbers = torch.arange(first, first + count)
    value = torch.rand(count, dtype=torch.float64, generator=generator)
    certificate = Certificate("residual", value, torch.ones_like(value), numbers, value, f"CG {first % 2}", "float64")
    fields = {name: torch.randn(count, 5, 4, dtype=torch.float64, generator=generator) for name in ("a", "u")}
    return Samples(
        SCHEMA, fields, Identity(**{"seed": 2**64 - 1, "split": "test", **identity}, indices=numbers), certificate
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(tmp_path, dtype):
    samples = batch(3, 7)
    write(tmp_path / "d.h5", samples, {"note": "ü", "rtol": 1e-8}, dtype=dtype)
    back = read(tmp_path / "d.h5")
    assert back.schema == SCHEMA
    for name in ("a", "u"):
        assert torch.equal(back[name], samples[name].to(getattr(torch, dtype)))
    assert (back.identity.seed, back.identity.split, back.identity.attempt) == (2**64 - 1, "test", 0)
    assert back.identity.indices.tolist() == list(range(3, 10))
    for name in ("value", "tolerance", "iterations"):
        assert torch.equal(getattr(back.certificate, name), getattr(samples.certificate, name))
    assert (back.certificate.kind, back.certificate.method, back.certificate.dtype) == ("residual", "CG 1", "float64")
    assert bool(back.certificate.seconds.isnan().all())
    assert read_metadata(tmp_path / "d.h5") == {"note": "ü", "rtol": 1e-8}
    with h5py.File(tmp_path / "d.h5") as file:
        assert dict(file["fields/a"].attrs) == {"role": b"input", "units": b"m2/s", "description": b"diffusivity"}
    assert os.listdir(tmp_path) == ["d.h5"]


def test_without_identity_and_certificate(tmp_path):
    plain = Samples(SCHEMA, batch(0, 2).fields)
    write(tmp_path / "d.h5", plain)
    back = read(tmp_path / "d.h5")
    assert (back.identity, back.certificate) == (None, None)
    write(tmp_path / "d.h5", plain[:0])
    assert len(read(tmp_path / "d.h5")) == 0


def test_same_samples_same_bytes(tmp_path):
    whole = Samples.cat([batch(0, 300), batch(300, 211)])
    write(tmp_path / "a.h5", whole)
    time.sleep(1.1)
    with DatasetWriter(tmp_path / "b.h5", SCHEMA, 511) as writer:
        for part in (whole[:5], whole[5:5], whole[5:400], whole[400:]):
            writer.append(part)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_fewer_samples_than_announced(tmp_path):
    with DatasetWriter(tmp_path / "d.h5", SCHEMA, 9000) as writer:
        writer.append(batch(0, 4000))
        writer.append(batch(5000, 10))
    back = read(tmp_path / "d.h5")
    assert len(back) == 4010
    assert back.identity.indices[-1] == 5009
    assert back.certificate.method == "CG 0"


def test_several_parts_in_a_folder(tmp_path):
    write(tmp_path / "part-00000.h5", batch(0, 3))
    write(tmp_path / "part-00001.h5", batch(3, 2))
    assert read(tmp_path).identity.indices.tolist() == [0, 1, 2, 3, 4]


def test_an_error_leaves_the_old_file_alone_and_nothing_else(tmp_path):
    write(tmp_path / "d.h5", batch(0, 2))
    old = (tmp_path / "d.h5").read_bytes()

    def interrupted():
        with DatasetWriter(tmp_path / "d.h5", SCHEMA, 4) as writer:
            writer.append(batch(0, 2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == ["d.h5"]
    assert (tmp_path / "d.h5").read_bytes() == old


def test_no_room_is_found_out_before_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 2_500_000))
    schema = SCHEMA.with_domain(Grid((421, 421)))
    with pytest.raises(DiskFull, match=r"dataset .*d\.h5: 1024 samples need 1.45 GB, 2.5 MB are free") as caught:
        DatasetWriter(tmp_path / "d.h5", schema, 1024)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_disk_full_while_writing(tmp_path):
    """A real short write: the process may not make files above 3 MB, which HDF5 sees as a full disk."""
    script = """
import resource, sys
import torch
from pdekit.domain import Grid
from pdekit.samples import FieldSpec, Samples, Schema
from pdekit.samples.hdf5 import DatasetWriter, DiskFull
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
schema = Schema(Grid((256, 256)), (FieldSpec("a", "input"), FieldSpec("u", "output")))
ones = Samples(schema, {"a": torch.ones(8, 256, 256), "u": torch.ones(8, 256, 256)})
try:
    with DatasetWriter(sys.argv[1], schema, 64) as writer:
        for _ in range(8):
            writer.append(ones)
except DiskFull as error:
    print(error)
    sys.exit(7)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "d.h5")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert "d.h5: 64 samples need 33.6 MB" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (batch(0, 3), batch(3, 2), "5 samples were appended"),
        (batch(0, 2), batch(2, 1, seed=1), "seed, split, attempt"),
        (batch(0, 2), Samples(SCHEMA, batch(0, 1).fields), "None was appended"),
        (batch(0, 2), Samples(SCHEMA, batch(2, 1).fields, batch(2, 1).identity), "certificates"),
        (
            batch(0, 2),
            Samples(SCHEMA.with_domain(Grid((2, 2), closed=False)), {k: torch.ones(1, 2, 2) for k in "au"}),
            "schema",
        ),
    ],
)
def test_appending_what_does_not_fit(tmp_path, first, second, message):
    def both():
        with DatasetWriter(tmp_path / "d.h5", SCHEMA, 4) as writer:
            writer.append(first)
            writer.append(second)

    with pytest.raises(InputError, match=message):
        both()
    assert os.listdir(tmp_path) == []


def test_other_refusals(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        write(tmp_path / "no" / "d.h5", batch(0, 1))
    with pytest.raises(InputError, match="metadata of a dataset cannot be stored"):
        write(tmp_path / "d.h5", batch(0, 1), {"grid": Grid((3,))})
    with pytest.raises(InputError, match="metadata of a dataset has"):
        write(tmp_path / "d.h5", batch(0, 1), {"text": "x" * 100_000})
    with pytest.raises(InputError, match="not open"):
        DatasetWriter(tmp_path / "d.h5", SCHEMA, 1).append(batch(0, 1))
    with pytest.raises(InputError, match="There is no dataset"):
        read(tmp_path / "d.h5")
    with pytest.raises(InputError, match="holds no dataset"):
        read(tmp_path)


def replace(file: h5py.File, name: str, **how) -> None:
    del file[name]
    file.create_dataset(name, **how)


def huge_schema(file):
    schema = json.loads(file.attrs["schema"])
    schema["domain"]["shape"] = [10**6, 10**6]
    set_attributes(file, {"schema": json.dumps(schema)})
    replace(file, "fields/a", shape=(10**6, 10**6, 10**6), dtype="f4", chunks=(1, 100, 100))


DAMAGE = {
    "format": (lambda f: f.attrs.__delitem__("format"), "format is None"),
    "version": (lambda f: f.attrs.modify("version", 2), "version is 2; this pdekit .* reads 1"),
    "no schema": (lambda f: f.attrs.__delitem__("schema"), "attribute schema of / is missing"),
    "schema is no JSON": (lambda f: f.attrs.modify("schema", "{"), "damaged"),
    "schema is a list": (lambda f: f.attrs.modify("schema", "[]"), "expected a JSON object"),
    "schema of another program": (lambda f: f.attrs.modify("schema", "{}"), "no pdekit schema"),
    "attribute of another type": (
        lambda f: f["identity"].attrs.__setitem__("split", 2.5),
        "expected text or an integer",
    ),
    "text of variable length": (
        lambda f: f.attrs.__setitem__("schema", "{}"),
        "schema of / is text of variable length",
    ),
    "missing field": (lambda f: f.__delitem__("fields/u"), "fields/u is missing"),
    "missing group": (lambda f: f.__delitem__("fields"), "fields/a is missing"),
    "objects": (lambda f: replace(f, "fields/a", data=["x", "y"], dtype=h5py.string_dtype()), "holds object"),
    "integers": (lambda f: replace(f, "fields/a", data=np.ones((2, 5, 4), int)), "holds int64"),
    "shape": (lambda f: replace(f, "fields/a", data=np.ones((2, 4, 5))), r"shape \(2, 4, 5\); expected \(N, 5, 4\)"),
    "count": (
        lambda f: replace(f, "fields/a", data=np.ones((3, 5, 4))),
        r"fields/u has shape \(2, 5, 4\); expected \(3, 5, 4\)",
    ),
    "index": (lambda f: replace(f, "identity/index", data=[0]), r"identity/index has shape \(1,\)"),
    "certificate": (lambda f: f["pdekit/certificate"].attrs.modify("kind", "trust me"), "of the kind 'trust me'"),
    "forged size": (
        lambda f: replace(f, "fields/a", shape=(10**9, 5, 4), dtype="f4", chunks=(1, 5, 4)),
        "claims 80 GB and holds",
    ),
    "forged grid": (huge_schema, "claims 4e"),
    "forged compression": (
        lambda f: replace(f, "fields/a", shape=(10**9, 5, 4), dtype="f4", chunks=(1, 5, 4), compression="gzip"),
        "truncated or forged",
    ),
    "link": (
        lambda f: (f.__delitem__("fields/a"), f.__setitem__("fields/a", h5py.ExternalLink("b.h5", "/x"))),
        "is a link",
    ),
    "group for data": (
        lambda f: (f.__delitem__("fields/a"), f.create_group("fields/a")),
        "is a group; expected a dataset",
    ),
    "data for group": (
        lambda f: (f.__delitem__("identity"), f.__setitem__("identity", 3)),
        "is a dataset; expected a group",
    ),
    "external data": (
        lambda f: replace(f, "fields/a", shape=(2, 5, 4), dtype="f4", external=[("/etc/hostname", 0, 160)]),
        "lies in other files",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_strangers_files(tmp_path, damage, message):
    write(tmp_path / "d.h5", batch(0, 2))
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=rf"dataset .*d\.h5 cannot be read: .*{message}"):
        read(tmp_path / "d.h5")


def test_recompressed_files_are_welcome(tmp_path):
    samples = batch(0, 50)
    write(tmp_path / "d.h5", samples, dtype="float64")
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        replace(file, "fields/a", data=np.zeros((50, 5, 4)), dtype=">f8", compression="gzip", shuffle=True)
    back = read(tmp_path / "d.h5")
    assert back["a"].dtype == torch.float64
    assert float(back["a"].abs().max()) == 0.0


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_truncated_files(tmp_path, kept):
    write(tmp_path / "d.h5", batch(0, 20))
    content = (tmp_path / "d.h5").read_bytes()
    (tmp_path / "d.h5").write_bytes(content[:kept])
    with pytest.raises(InputError, match=r"dataset .*d\.h5 cannot be read: it is (truncated|damaged)"):
        read(tmp_path / "d.h5")


def test_a_pickle_is_not_opened(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "d.h5")
    with pytest.raises(InputError, match="no HDF5 file"):
        read(tmp_path / "d.h5")


def test_flipped_bytes_are_refused_and_nothing_hangs_or_crashes(tmp_path):
    """In a process of its own: in files without checksums the HDF5 library itself hung (12 of 2,000) or crashed (6)."""
    write(tmp_path / "d.h5", batch(0, 3))
    assert refusals(tmp_path / "d.h5", 1000) > 900


def test_a_file_without_checksums_is_refused_unopened(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["format"] = "pdekit samples"
    with pytest.raises(InputError, match=r"dataset .*old\.h5 cannot be read: it is an HDF5 file of the old kind"):
        read(tmp_path / "old.h5")

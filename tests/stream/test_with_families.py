"""The stream in front of a real solver: lockstep is exact however the solver is threaded."""

import hashlib

import pytest
import torch

import pdekit as pk
from pdekit.stream import Stream

FAMILY = pk.families.Darcy(
    pk.Grid((17, 17)), coefficient=pk.fields.Threshold(pk.fields.GaussianField(alpha=2, tau=3), low=3, high=12)
)


def hashes(count: int, *, state=None, **settings) -> tuple[list[str], dict]:
    settings = {"capacity": 64, "ticket_size": 8, "batch_size": 4, "reuse": 2, "schedule": "lockstep", **settings}
    with Stream(FAMILY, **settings) as stream:
        if state is not None:
            stream.load_state_dict(state)
        batches = [stream.next_batch() for _ in range(count)]
        parts = [[b.indices, b.samples["coefficient"], b.samples["solution"]] for b in batches]
        sums = [hashlib.sha256(b"".join(v.numpy().tobytes() for v in part)).hexdigest() for part in parts]
        return sums, stream.state_dict()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_batches_depend_neither_on_workers_nor_on_threads(threads):
    threads(1)
    whole, _ = hashes(40, engine="inline")
    first, state = hashes(17, workers=3)
    threads(2)
    rest, _ = hashes(23, workers=2, state=state)
    assert first + rest == whole


def test_samples_and_certificates_are_those_of_their_ticket():
    """Oracle: solving the whole ticket again outside the stream."""
    with Stream(FAMILY, capacity=64, ticket_size=8, batch_size=8, rtol=1e-6) as stream:
        samples = stream.next_batch().samples
    assert samples.certificate is not None
    assert bool(samples.certificate.accepted.all())
    for row, index in enumerate(samples.identity.indices.tolist()):
        first = index // 8 * 8
        ticket = FAMILY.solve(FAMILY.draw(range(first, first + 8), seed=0), rtol=1e-6)
        assert torch.equal(samples["solution"][row], ticket["solution"][index - first].float())
        assert samples.certificate.value[row] == ticket.certificate.value[index - first]
        assert samples.certificate.iterations[row] == ticket.certificate.iterations[index - first]

"""What every buffer policy owes the stream."""

from collections.abc import Callable

import numpy as np

from pdekit.stream import Policy

__all__ = ["check_policy"]


def check_policy(make: Callable[[], Policy], *, batch_size: int = 4, steps: int = 400, seed: int = 0) -> None:
    """Drive a policy through random puts and gets and compare it with a ledger of what each slot holds.

    Checked: slots are in range and never twice in a batch; the population is the number of occupied slots and stays
    within the capacity; only seen samples are overwritten; nothing is drawn at or below the watermark; a saved state
    continues with the same slots; after ``close`` the buffer drains, and by then every sample was used, exactly
    ``uses`` times where the policy promises a number.

    Args:
        make: a new policy in its first state; called twice.
        batch_size: samples a draw.
        steps: random operations.
        seed: of the operations.

    Raises:
        AssertionError: names the promise that was broken.

    Example:
        >>> from pdekit.stream import Reservoir
        >>> check_policy(lambda: Reservoir(32, watermark=8, seed=1))
    """
    random = np.random.default_rng(seed)
    policy, twin = make(), make()
    held: dict[int, int] = {}
    uses: list[int] = []

    def put(count: int) -> None:
        slots = policy.put(count)
        assert len(slots) == len(set(slots.tolist())) == count, "put returned another number of distinct slots"
        assert all(0 <= slot < policy.capacity for slot in slots), "put returned a slot out of range"
        for slot in slots.tolist():
            assert slot not in held or uses[held[slot]] > 0, f"put overwrote slot {slot}, whose sample was never used"
            held[slot] = len(uses)
            uses.append(0)

    def get() -> list[int]:
        over = policy.over
        slots = policy.get(batch_size).tolist()
        assert len(slots) == len(set(slots)), "a batch holds a slot twice"
        assert over or len(slots) == batch_size, "a batch is smaller than asked for before the buffer was closed"
        for slot in slots:
            assert slot in held, f"get returned slot {slot}, which is empty"
            uses[held[slot]] += 1
        return slots

    def compare() -> None:
        occupied = set(policy.occupied().tolist())
        assert occupied <= set(held), "occupied() names a slot that was never filled"
        for slot in set(held) - occupied:
            assert uses[held.pop(slot)] > 0, f"the sample in slot {slot} left without ever being used"
        assert policy.population == len(occupied) <= policy.capacity, "population differs from the occupied slots"
        unseen = sum(uses[held[slot]] == 0 for slot in occupied)
        assert policy.unseen == unseen, f"unseen is {policy.unseen}, but {unseen} held samples were never drawn"
        gate = policy.population > policy.watermark and policy.population >= batch_size
        assert policy.over or policy.can_get(batch_size) == gate, "can_get ignores the watermark or the population"

    for _ in range(steps):
        if random.random() < 0.5 and policy.room() > 0:
            put(int(random.integers(1, min(policy.room(), 2 * batch_size) + 1)))
        elif policy.can_get(batch_size):
            get()
        compare()

    twin.load_state_dict(policy.state_dict())
    for _ in range(20):
        assert twin.room() == policy.room(), "a loaded state has other room"
        if count := min(policy.room(), 3):
            put(count)
            twin.put(count)
        compare()
        if policy.can_get(batch_size):
            place = {slot: number for number, slot in enumerate(policy.occupied().tolist())}
            twin_place = {slot: number for number, slot in enumerate(twin.occupied().tolist())}
            drawn = [place[slot] for slot in get()]
            twin_drawn = [twin_place[slot] for slot in twin.get(batch_size).tolist()]
            assert drawn == twin_drawn, "a loaded state draws other samples"
        compare()

    policy.close()
    assert not policy.can_put(), "a closed buffer accepts samples"
    while policy.can_get(batch_size):
        get()
        compare()
    assert policy.population == 0, "a closed buffer did not drain"
    assert min(uses) >= 1, "a sample was never used"
    if policy.uses is not None:
        assert set(uses) == {policy.uses}, f"samples were used {sorted(set(uses))} times, not {policy.uses}"

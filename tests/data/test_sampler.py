"""P identities x K images: what a step holds, on one process and on several, and that any step
can be entered.
"""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.data.sampler import IdentitySampler
from partreid.errors import DataError

COUNTS = (6, 5, 9, 4, 1, 12, 4, 3, 7, 2)  # images per identity; fewer than K for some
IDS = [identity for identity, n in enumerate(COUNTS) for _ in range(n)]


def steps(**changes: int) -> list[list[tuple[int, int, int]]]:
    settings = {"P": 4, "K": 4, "seed": 3, "rank": 0, "world": 1, "epoch": 0, "start": 0} | changes
    epoch, start = settings.pop("epoch"), settings.pop("start")
    sampler = IdentitySampler(IDS, **settings)
    sampler.enter(epoch, start)
    return list(sampler)


def test_every_step_has_P_identities_of_K_images_each() -> None:
    for epoch in range(5):
        for step in steps(epoch=epoch):
            counted = Counter(IDS[index] for index, _, _ in step)
            assert len(counted) == 4 and set(counted.values()) == {4}


def test_no_image_twice_in_an_epoch_unless_its_identity_has_fewer_than_K() -> None:
    for epoch in range(5):
        used = Counter(index for step in steps(epoch=epoch) for index, _, _ in step)
        assert all(n == 1 for index, n in used.items() if COUNTS[IDS[index]] >= 4)


def test_every_image_is_seen_in_time() -> None:
    seen = {index for epoch in range(60) for step in steps(epoch=epoch) for index, _, _ in step}
    assert seen == set(range(len(IDS)))


@settings(max_examples=25)
@given(world=st.sampled_from([2, 4]), seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_ranks_share_a_step_out_without_an_identity_in_common(
    world: int, seed: int, epoch: int
) -> None:
    whole = steps(seed=seed, epoch=epoch)
    ranks = [steps(seed=seed, epoch=epoch, rank=rank, world=world) for rank in range(world)]
    assert {len(r) for r in ranks} == {len(whole)}
    for parts, step in zip(zip(*ranks), whole):
        identities = [{IDS[index] for index, _, _ in part} for part in parts]
        assert sum(map(len, identities)) == len(set.union(*identities)) == 4
        # images, epochs and positions
        assert sorted(draw for part in parts for draw in part) == sorted(step)


def test_an_epoch_entered_at_a_step_goes_on_where_it_would_have_been() -> None:
    whole = steps(epoch=2)
    for start in range(len(whole) + 1):
        assert steps(epoch=2, start=start) == whole[start:]
    sampler = IdentitySampler(IDS, 4, 4, seed=3)
    sampler.enter(2, 1)
    assert len(sampler) == len(whole)  # of the epoch, wherever it is entered


def test_seed_and_epoch_decide_everything() -> None:
    assert steps() == steps()
    assert steps() != steps(seed=4)
    assert [[i for i, _, _ in s] for s in steps()] != [[i for i, _, _ in s] for s in steps(epoch=1)]


def test_a_draw_knows_its_epoch_and_its_own_position() -> None:
    draws = [draw for step in steps(epoch=7) for draw in step]
    assert {epoch for _, epoch, _ in draws} == {7}
    assert [position for _, _, position in draws] == list(range(len(draws)))


def test_what_cannot_be_shared_out_is_said_with_the_setting_to_change() -> None:
    with pytest.raises(
        DataError, match=r"a step needs 16 identities, the training set has 10;.*batch=\[10,4\]"
    ):
        IdentitySampler(IDS, 16, 4)
    with pytest.raises(
        DataError, match=r"5 identities a step cannot be shared out evenly over 2.*batch=\[6,4\]"
    ):
        IdentitySampler(IDS, 5, 4, world=2)

"""The planted mistakes: that there is a place for each, and that a few of them are found. All: `nox -s prove`."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.planted import NEAREST, PLANTED, ROOT, copied, pass_in, planted, survives

# Deliveries are left out: what is wrong there is often found by waiting in vain.
FEW = random.Random(20).sample([fault for fault in PLANTED if fault[0] != "delivery.py"], 3)


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: f"{fault[0]}-{fault[2][:30]}")
def test_there_is_a_place_for_each(fault: tuple[str, str, str]) -> None:
    """What it replaces stands in the file, and the file can still be read."""
    assert planted(fault)
    assert fault[1] != fault[2]


def test_none_is_planted_twice() -> None:
    """Each counts for one."""
    assert len(set(PLANTED)) == len(PLANTED)


def test_the_nearest_tests_exist() -> None:
    """For every file that a mistake is planted in."""
    assert {name for name, _, _ in PLANTED} == NEAREST.keys()
    for names in NEAREST.values():
        for name in names:
            assert (ROOT / "tests" / "sandbox" / f"test_{name}.py").is_file()


@pytest.mark.timeout(300)
def test_a_few_are_found() -> None:
    """By the tests nearest to them, in a copy in which tests pass without any."""
    with copied() as copy, ThreadPoolExecutor(2) as pool:
        sound = pool.submit(pass_in, copy, "fidelity", "qr")
        survivors = [fault for fault, lives in zip(FEW, pool.map(_lives, FEW), strict=True) if lives]
        assert sound.result()
    assert survivors == []


def _lives(fault: tuple[str, str, str]) -> bool:
    return survives(fault, nearest=True)

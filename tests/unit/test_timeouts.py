"""Limits in seconds."""

import pytest

from belvo_links.transport.timeouts import AttemptLimits, Timeouts, attempt_limits, least


@pytest.mark.parametrize("name", ["read", "login", "connect", "pool_wait", "lease_slack"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_every_limit_is_a_real_time(name: str, value: float) -> None:
    """And the error names the one that is not."""
    with pytest.raises(ValueError, match=name):
        Timeouts(**{name: value})


def test_a_claim_lasts_longer_than_an_attempt_can_take() -> None:
    """Or a second process would take a submission for dead that is still under way."""
    timeouts = Timeouts(read=1, login=200, connect=20, pool_wait=100, lease_slack=7)
    assert timeouts.lease() == 327


def test_an_attempt_gets_the_limit_of_its_kind() -> None:
    """Calls that log in have another one."""
    timeouts = Timeouts(read=1, login=2, connect=3, pool_wait=4)
    assert attempt_limits(timeouts, logs_in=False) == AttemptLimits(pool_wait=4, connect=3, reply=1)
    assert attempt_limits(timeouts, logs_in=True, opening=5, total=6) == AttemptLimits(
        pool_wait=4, connect=3, reply=2, opening=5, total=6
    )


def test_the_least_of_what_is_given() -> None:
    """None is no limit."""
    assert least(None, 3.0, None, 2.0) == 2.0

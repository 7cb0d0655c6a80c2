"""A simulator and a client of it for each test, as the tests of pending sessions have them."""

from tests.mfa.conftest import box, nothing_left_behind

__all__ = ["box", "nothing_left_behind"]

"""What the proofs of the simulator's fidelity share."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prove: runs in full size where BELVO_LINKS_PROVE=1, as in `nox -s prove`")

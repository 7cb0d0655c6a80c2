"""The tables that say how far the simulator can be believed are those of the code."""

import re
from pathlib import Path

import pytest

from belvo_links.sandbox.fidelity import FIDELITY, Ground, fidelity_table, switches_table

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "simulator.md"
TABLES = {"fidelity": fidelity_table, "switches": switches_table}


@pytest.mark.parametrize("name", TABLES)
def test_the_documentation_has_the_table_of_the_code(name: str) -> None:
    """Whichever tool has written it there."""
    [block] = re.findall(rf"<!-- generated: {name} -->\n(.*?)<!-- end -->", DOCUMENT.read_text(), re.DOTALL)
    assert block == TABLES[name]()


def test_every_behaviour_has_its_ground() -> None:
    """All three kinds occur; what is documented or inferred names where; nothing is said twice."""
    assert {one.ground for one in FIDELITY} == set(Ground)
    for one in FIDELITY:
        assert one.sections or one.ground is Ground.OURS, one.what
        assert re.fullmatch(r"(\d+(\.\d)?(, )?)*", one.sections)
    assert len({one.what for one in FIDELITY}) == len(FIDELITY)


def test_a_table_survives_its_cells() -> None:
    """Every line has as many cells as its head."""
    for render in TABLES.values():
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in render().splitlines()}
        assert len(widths) == 1

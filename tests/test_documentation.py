"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest

from belvo_links.protocol.mfa import TRANSITIONS
from tests import generated

LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("path", generated.documents(), ids=lambda path: path.name)
def test_generated_tables_are_up_to_date(path: Path) -> None:
    """What is printed from the code is what the code says now; `python -m tests.generated` writes it anew."""
    text = path.read_text(encoding="utf-8")
    assert generated.renewed(text) == text


def test_the_diagram_is_up_to_date() -> None:
    """The picture of the machine is drawn from its table."""
    assert (generated.DOCS / "machine.svg").read_text(encoding="utf-8") == generated.diagram()


def test_the_diagram_shows_every_row() -> None:
    """Each event of each row stands at an edge of the picture."""
    drawn = re.findall(r'class="label"[^>]*>([^<]+)<', generated.diagram())
    assert sorted(drawn) == sorted(event.__name__ for _, event in TRANSITIONS)


@pytest.mark.parametrize("path", generated.documents(), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """No document points to a file that does not exist."""
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    """A page that is not in the navigation is not found."""
    navigation = (generated.ROOT / "zensical.toml").read_text(encoding="utf-8")
    for path in generated.DOCS.rglob("*.md"):
        assert f'"{path.relative_to(generated.DOCS).as_posix()}"' in navigation

"""The HTML report: what is in it, that nothing in it is taken for markup, and that it asks nobody for anything."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from belvo_links.audit.figures import SHOWN
from belvo_links.audit.findings import Finding, Severity
from belvo_links.audit.report import AuditReport
from belvo_links.protocol.models import LinkStatus
from tests.audit.reporting import link, portfolio, report

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "</title></style></script><b>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202eevil\u202c",
]
MAY_REFER = {"link": "data:image/svg+xml;base64,", "a": "#"}


class Page(HTMLParser):
    """A page that was read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside.setdefault(self._open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


async def page(made: AuditReport) -> Page:
    file = io.BytesIO()
    await made.write_html(file)
    return Page(file.getvalue().decode())


async def test_every_chart_has_a_title_and_says_the_same_in_words(tmp_path: Path) -> None:
    seen = await page(report(tmp_path / "run", portfolio(300)))
    charts = [each for each in seen.all("svg") if each.get("role") == "img"]
    ids = {attributes["id"] for _, attributes in seen.tags if "id" in attributes}
    assert len(charts) == 6
    for chart in charts:
        assert set((chart["aria-labelledby"] or "").split()) <= ids
    assert len([text for text in seen.inside["desc"] if text.strip()]) == 6
    assert len(ids) == sum("id" in attributes for _, attributes in seen.tags), "an id is there once"


async def test_the_key_figures_and_the_guarantee_are_there(tmp_path: Path) -> None:
    made = report(tmp_path / "run", [link(1), link(2, status=LinkStatus.INVALID)], interruptions=2)
    seen = await page(made)
    assert [text for text in seen.inside["span"] if text in {"2", "50 %", "1"}] == ["2", "50 %", "1", "1"]
    for sentence in made.guarantee:
        assert sentence in seen.inside["p"]
    assert "complete" in seen.inside["p"]
    assert not [each for each in seen.all("p") if each.get("role") == "alert"]


async def test_an_incomplete_audit_is_seen_at_once(tmp_path: Path) -> None:
    seen = await page(report(tmp_path / "run", [link()], complete=False, reason="The list was not newest first."))
    assert [each["class"] for each in seen.all("p") if each.get("role") == "alert"] == ["banner"]
    assert "not complete" in seen.inside["p"]
    assert seen.text.count("The list was not newest first.") == 2


async def test_the_first_findings_are_listed_and_the_rest_is_counted(tmp_path: Path) -> None:
    many = [
        Finding(check="mine", severity=Severity.LOW, link_id=f"link-{number}", message="Something.", remedy="Do it.")
        for number in range(SHOWN + 345)
    ]
    seen = await page(report(tmp_path / "run", [], extra=many))
    assert len([each for each in seen.all("tr") if "data-severity" in each]) == SHOWN
    assert "The first 2,000 of 2,345" in seen.text


async def test_nothing_found_is_said(tmp_path: Path) -> None:
    seen = await page(report(tmp_path / "run", []))
    assert "Nothing was found." in seen.inside["p"]
    assert "There are no links." in seen.inside["p"]
    assert not seen.all("form")


async def test_unreadable_records_are_listed_with_their_paths(tmp_path: Path) -> None:
    many = [(f"id-{number}", ["$.status: expected text"]) for number in range(250)]
    seen = await page(report(tmp_path / "run", [], unreadable=[(None, ["$.id: expected text"]), *many]))
    assert "251 in all, the first 200 of them here." in seen.text
    assert "$.id: expected text" in seen.inside["bdi"]
    assert "no id" in seen.inside["bdi"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_words_stay_text(tmp_path: Path, text: str) -> None:
    usual = await page(report(tmp_path / "usual", [link(status=LinkStatus.INVALID)], **everywhere("word")))
    hostile = link(id=text, institution=text, status=LinkStatus(text), external_id=text)
    seen = await page(report(tmp_path / "hostile", [hostile, link(2, status=LinkStatus.INVALID)], **everywhere(text)))
    assert {name for name, _ in seen.tags} <= {name for name, _ in usual.tags} | {"br"}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert text in seen.inside["bdi"]
    assert len(seen.all("script")) == len(seen.all("style")) == 1


def everywhere(text: str) -> dict[str, Any]:
    return {
        "extra": [Finding(check=text, severity=Severity.LOW, link_id=text, message=text, remedy=text)],
        "unreadable": [(text, [text])],
        "filters": [text],
        "checks": [text],
        "origin": text,
        "complete": False,
        "reason": text,
    }


async def test_the_page_refers_to_nothing_outside(tmp_path: Path) -> None:
    seen = await page(report(tmp_path / "run", portfolio(50)))
    for tag, attributes in seen.tags:
        assert not {"src", "srcset", "action", "data", "poster", "background", "style"} & set(attributes), tag
        if "href" in attributes:
            assert (attributes["href"] or "").startswith(MAY_REFER[tag])
    style = "".join(seen.inside["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert not re.findall(r"fetch|XMLHttp|WebSocket|import\(|eval|innerHTML", "".join(seen.inside["script"]))


async def test_its_policy_lets_in_this_style_and_this_script_only(tmp_path: Path) -> None:
    seen = await page(report(tmp_path / "run", [link()]))
    (policy,) = (each["content"] for each in seen.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))

    def digest(tag: str) -> str:
        return base64.b64encode(hashlib.sha256("".join(seen.inside[tag]).encode()).digest()).decode()

    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest('style')}'",
        "script-src": f"'sha256-{digest('script')}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


async def test_the_page_is_small_without_its_data(tmp_path: Path) -> None:
    assert len((await page(report(tmp_path / "run", [link()]))).text) < 40_000


async def test_pseudonyms_are_shown_short(tmp_path: Path) -> None:
    seen = await page(report(tmp_path / "run", [link(status=LinkStatus.INVALID)], pseudonymised=True))
    assert [each for each in seen.all("code") if each.get("title") == "Pseudonym of the external_id"]
    assert "user-1" not in seen.text

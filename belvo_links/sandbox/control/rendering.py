"""The page as HTML: everything is escaped by the template engine, and nothing is rendered that has not changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

try:
    import jinja2
except ModuleNotFoundError as missing:
    _MISSING: str | None = missing.name
else:
    _MISSING = None

if _MISSING is not None:  # outside of the handler, so that the error says one thing
    raise ModuleNotFoundError(
        "the simulator's page needs the extra [cli]: pip install 'belvo-links[cli]'", name=_MISSING
    )

HERE = Path(__file__).parent
ASSETS: Mapping[str, tuple[str, bytes]] = {
    f"/_sandbox/{name}": (kind, (HERE / "static" / name).read_bytes())
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml"))
}
"""What the page loads, with its media type."""


@frozen
class Part:
    """A part of the page that is renewed by itself: what it shows, and the template that shows it."""

    name: str
    view: object

    @property
    def version(self) -> str:
        """Equal as long as the part need not be sent again."""
        return f"{hash(self.view) & (1 << 64) - 1:x}"


class Renderer:
    """Holds the templates, compiled before the first visitor comes: that would keep everybody else waiting."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def page(self, template: str, **shown: object) -> str:
        """A whole page."""
        return self._templates.get_template(f"{template}.html").render(shown)

    def part(self, part: Part, **shown: object) -> str:
        """The inside of a part."""
        return self._templates.get_template(f"{part.name}.html").render(shown, view=part.view)

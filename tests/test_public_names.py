"""The public surface is a promise: what it is, is written down beside this file, and changes only on purpose.

``python -m tests.test_public_names`` writes it down anew.
"""

import ast
import enum
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_overloads, is_typeddict

import attrs
import pytest

import belvo_links

SURFACE = Path(__file__).with_name("public-surface.txt")
HOW = (
    "The public surface has changed. If that is meant: `python -m tests.test_public_names`, and a line in CHANGELOG.md."
)
SOURCE = Path(belvo_links.__file__).read_text(encoding="utf-8")
OPTIONAL = (
    *(
        "aiosqlite",
        "cryptography",
        "cyclopts",
        "jinja2",
        "opentelemetry",
        "prometheus_client",
        "psycopg",
        "pyarrow",
        "redis",
        "rich",
    ),
    *("segno", "sqlite3", "taskiq"),
)
UNWATCHED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
SPECIAL = frozenset({"__init__", "__aiter__", "__anext__", "__aenter__"})
NAMES = [name for name in belvo_links.__all__ if isinstance(getattr(belvo_links, name), type)]


def imported_for_checkers() -> set[str]:
    """The names that a type checker sees."""
    (block,) = (
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    imports = (node for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.name for node in imports for alias in node.names}


# ------------------------------------------------------------------------------------------------------- the surface


def own_classes(kind: type) -> list[type]:
    """A class and those of this package that it is made of, the nearest first."""
    return [one for one in kind.__mro__ if one.__module__.startswith("belvo_links.")]


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """What a user sees of a class: names without an underscore, and what it is made with."""
    seen: set[str] = set()
    for one in own_classes(kind):
        for name, value in list(vars(one).items()):
            hidden = name.startswith("_") and name not in {
                "__init__",
                "__aiter__",
                "__anext__",
                "__aenter__",
                "__call__",
            }
            if not hidden and name not in seen:
                seen.add(name)
                yield name, value


def callables(kind: type) -> Iterator[tuple[str, inspect.Signature]]:
    """The methods of a class with their signatures, each overload for itself."""
    for name, value in members(kind):
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not inspect.isfunction(function) or (name == "__init__" and issubclass(kind, enum.Enum)):
            continue
        for one in get_overloads(function) or [function]:
            yield name, inspect.signature(one)


def described(name: str) -> Iterator[str]:
    """One public name, line by line; what another public name brings along is described there."""
    value = getattr(belvo_links, name)
    if not isinstance(value, type):
        yield f"{name} = {value!r}" if isinstance(value, enum.Enum) else f"{name}: alias"
        return
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    yield f"class {name}({bases})" if bases else f"class {name}"
    if issubclass(value, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in value)
    public = {getattr(belvo_links, other) for other in belvo_links.__all__ if other != name} - {value}
    added = [
        one for one in own_classes(value) if not any(issubclass(other, one) for other in bases_among(value, public))
    ]
    yield from sorted(line for one in added for line in lines(one, as_part_of=value))


def bases_among(kind: type, public: set[Any]) -> list[type]:
    """The public classes that a class is made of."""
    return [one for one in kind.__mro__ if one in public]


def lines(kind: type, *, as_part_of: type) -> Iterator[str]:
    """Methods, properties and attributes that a class itself brings."""
    for name, value in list(vars(kind).items()):
        if (name.startswith("_") and name not in SPECIAL) or (name == "__init__" and not is_made(as_part_of)):
            continue
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if isinstance(value, property):
            yield f"    {name}: property -> {text(value.fget.__annotations__.get('return'))}"
        elif inspect.isfunction(function):
            for one in get_overloads(function) or [function]:
                kind_of = "async def" if inspect.iscoroutinefunction(one) else "def"
                yield f"    {kind_of} {name}{plain(inspect.signature(one))}"
    if attrs.has(kind) or is_typeddict(kind):
        annotations = vars(kind).get("__annotations__", kind.__annotations__)
        yield from (f"    {name}: {text(given)}" for name, given in annotations.items() if not name.startswith("_"))


def is_made(kind: type) -> bool:
    """Whether a user makes one by calling the class."""
    return not issubclass(kind, enum.Enum) and not getattr(kind, "_is_protocol", False) and not is_typeddict(kind)


class Written:
    """An annotation that shows itself as it was written."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def __repr__(self) -> str:
        return text(self.annotation)


def plain(signature: inspect.Signature) -> str:
    """A signature without `self` and without quotes around its types."""
    parameters = [
        one if one.annotation is one.empty else one.replace(annotation=Written(one.annotation))
        for name, one in signature.parameters.items()
        if name not in {"self", "cls"}
    ]
    result = signature.return_annotation
    return str(signature.replace(parameters=parameters, return_annotation=Written(result)))


def text(kind: Any) -> str:
    """A type as it is written."""
    if isinstance(kind, str):
        return kind
    return getattr(kind, "__forward_arg__", None) or getattr(kind, "__name__", None) or str(kind)


def surface() -> str:
    """Everything public."""
    return "".join(f"{line}\n" for name in belvo_links.__all__ for line in described(name))


def test_the_surface_is_as_written_down() -> None:
    """Names, signatures, attributes, words of enums."""
    assert surface() == SURFACE.read_text(encoding="utf-8"), HOW


# -------------------------------------------------------------------------------------------------------------- names


def test_the_names_are_sorted_and_each_is_there_once() -> None:
    """So that one finds them."""
    assert belvo_links.__all__ == sorted(set(belvo_links.__all__))


def test_checkers_and_programs_see_the_same_names() -> None:
    """The imports for checkers, the table for the first use, and the list."""
    assert imported_for_checkers() == set(belvo_links.__all__) == set(belvo_links._HOMES)
    assert set(dir(belvo_links)) == {*belvo_links.__all__, "__version__"}


@pytest.mark.parametrize("name", belvo_links.__all__)
def test_every_name_resolves_to_what_its_home_has(name: str) -> None:
    """And is the same the second time."""
    home = sys.modules[belvo_links._HOMES[name]] if getattr(belvo_links, name, None) is not None else None
    assert getattr(belvo_links, name) is getattr(home, name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="'belvo_links' has no attribute 'Linc'"):
        belvo_links.Linc  # noqa: B018  # type: ignore[attr-defined]


def test_the_version_is_the_installed_one() -> None:
    """There is one place for it."""
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", belvo_links.__version__)


def test_everything_public_can_be_imported_at_once() -> None:
    """By a star, too."""
    names: dict[str, object] = {}
    exec("from belvo_links import *", names)
    assert set(belvo_links.__all__) <= set(names)


# --------------------------------------------------------------------------------------------------------- signatures


MOST_POSITIONAL = {
    ("Waiting", "__init__"): 3,  # three numbers that are of a kind
    ("BelvoLinks", "unseal"): 3,  # the text, and then the very arguments of `seal`
}


@pytest.mark.parametrize("name", NAMES)
def test_all_but_the_first_two_arguments_are_given_by_name(name: str) -> None:
    """So that arguments can be added, and calls can be read."""
    kind = getattr(belvo_links, name)
    if issubclass(kind, enum.Enum) or is_typeddict(kind):
        return
    for method, signature in callables(kind):
        positional = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
            and parameter.name not in {"self", "cls"}
        ]
        assert len(positional) <= MOST_POSITIONAL.get((name, method), 2), (method, positional)


@pytest.mark.parametrize("name", NAMES)
def test_no_signature_says_any(name: str) -> None:
    """`Any` switches a user's type checker off."""
    kind = getattr(belvo_links, name)
    found = [f"{method}{signature}" for method, signature in callables(kind) if re.search(r"\bAny\b", str(signature))]
    found += [
        str(field)
        for field in (attrs.fields(kind) if attrs.has(kind) else ())
        if re.search(r"\bAny\b", str(field.type))
    ]
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_everything_public_is_documented(name: str) -> None:
    """Classes, methods and properties, by themselves or by what they implement."""
    kind = getattr(belvo_links, name)
    assert kind.__doc__
    for member, value in members(kind):
        if member.startswith("_") or not (inspect.isroutine(value) or isinstance(value, property)):
            continue
        assert inspect.getdoc(getattr(kind, member)), member


def test_importing_the_package_loads_no_http_library() -> None:
    """Nor anything optional; errors, filters and results do without as well."""
    program = f"""
import sys, belvo_links
belvo_links.LoginError, belvo_links.Link, belvo_links.LinkFilter, belvo_links.Credentials, belvo_links.RetryPolicy
belvo_links.LocalLimiter, belvo_links.MemoryStore, belvo_links.Waiting, belvo_links.PendingSession
print(sorted(sys.modules.keys() & {{"aiohttp", *{OPTIONAL!r}}}))
belvo_links.BelvoLinks
print(sorted(sys.modules.keys() & {{"aiohttp", *{OPTIONAL!r}}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=UNWATCHED)
    assert done.stdout.splitlines() == ["[]", "['aiohttp']"]


if __name__ == "__main__":
    SURFACE.write_text(surface(), encoding="utf-8")

"""Names of a package that are resolved on first use, so that importing it loads none of its modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def resolver(
    package: str, homes: Mapping[str, str], *, extras: Mapping[str, str] | None = None
) -> Callable[[str], object]:
    """Return the package's ``__getattr__``.

    Args:
        package: its full name.
        homes: the module of each name.
        extras: the extra that a module needs.
    """

    def resolve(name: str) -> object:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        home = homes[name]
        extra = (extras or {}).get(home)
        try:
            return getattr(import_module(home), name)
        except ModuleNotFoundError as error:
            if extra is None or (error.name or "").startswith("belvo_links"):
                raise
            missing = error.name
        msg = f"{name} needs the extra [{extra}]: pip install 'belvo-links[{extra}]'"
        raise ModuleNotFoundError(msg, name=missing)

    return resolve

"""A store whose driver is not installed says which extra brings it."""

import sys

import pytest

from belvo_links import stores


@pytest.mark.parametrize(
    "name, home, driver, extra",
    [
        ("PostgresStore", "postgres", "psycopg", "postgres"),
        ("PostgresStore", "postgres", "psycopg_pool", "postgres"),
        ("RedisStore", "redis", "redis", "redis"),
        ("SqliteStore", "sqlite", "aiosqlite", "sqlite"),
    ],
)
def test_a_missing_driver_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, home: str, driver: str, extra: str
) -> None:
    """The command to install it stands in the error."""
    for ours in ("stores", "drivers"):
        monkeypatch.delitem(sys.modules, f"belvo_links.{ours}.{home}", raising=False)
    for module in list(sys.modules):
        if module == driver or module.startswith(f"{driver}."):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(
        ModuleNotFoundError, match=rf"needs the extra \[{extra}\]: pip install 'belvo-links\[{extra}\]'"
    ):
        getattr(stores, name)

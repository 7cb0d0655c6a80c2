"""The rules of the house: what holds for every file, whichever they will be."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "belvo_links"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted(PACKAGE.rglob("*.py"))

LONGEST = 400
# Decisions without effects: see CONTRIBUTING.md. A name that does not exist yet is no mistake.
RING_1 = (
    "redact",
    "errors",
    "wire",
    "protocol",
    "webhooks",
    "transport.messages",
    "transport.retry",
    "transport.limit",
    "transport.observe",
    "transport.timeouts",
)
SKIPPED_FOLDERS = {"__pycache__", "build", "dist", "htmlcov", "site", "venv", "node_modules"}
# Spelled in parts, so that this file does not hold them itself.
FORBIDDEN_WORDS = ("/" + "work/", "/" + "root/", ".py" + "env")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files() -> Iterator[Path]:
    """Every text file of the project: what tools build and hide is left out, `.ci` is not."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED_FOLDERS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name == ".ci")
        ]
        for name in names:
            if not name.startswith(".coverage"):
                yield Path(folder, name)


def exists(module: str) -> bool:
    path = PACKAGE.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def undocumented(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if tree.body and ast.get_docstring(tree) is None:
        yield f"{name_of(path)}: the module"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            overload = any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not overload and ast.get_docstring(node) is None:
                yield f"{name_of(path)}:{node.lineno}: {node.name}"


def run_python(code: str) -> str:
    """What a fresh interpreter prints that runs this code beside the package."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str) -> set[str]:
    """The modules that this code loads; the measuring of coverage has loaded some before."""
    before = "import sys; before = set(sys.modules)"
    return set(run_python(f"{before}\n{code}\nprint(*(set(sys.modules) - before))").split())


def test_no_module_is_longer_than_one_can_read() -> None:
    long = {
        name_of(path): lines for path in MODULES if (lines := path.read_text(encoding="utf-8").count("\n")) > LONGEST
    }
    assert not long


def test_everything_public_says_what_it_is() -> None:
    assert [line for path in MODULES for line in undocumented(path)] == []


def test_no_file_speaks_of_the_machine_it_was_written_on() -> None:
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name_of(path)}: {word}" for word in FORBIDDEN_WORDS if word in text]
    assert found == []


def test_checkers_are_told_that_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`belvo-links --help` and the pytest plugin start at once."""
    heavy = {"aiohttp", "asyncio", "attrs", "cattrs", "msgspec", "sqlite3"}
    assert heavy.isdisjoint(loaded_by("import belvo_links"))


def extra_packages() -> set[str]:
    """The import names of what the extras install: blocked, they stand for an environment that has none."""
    names: set[str] = set()
    for requirements in PROJECT["project"]["optional-dependencies"].values():
        for requirement in requirements:
            matched = re.match(r"[A-Za-z0-9_.-]+", requirement)
            assert matched
            names.add(matched[0].replace("-", "_").lower())
    return names - {"belvo_links"} | {"opentelemetry"}


def test_every_public_name_is_there_without_any_extra() -> None:
    blocked = extra_packages()
    code = f"""
import sys
for name in {sorted(blocked)!r}:
    sys.modules[name] = None
import belvo_links
for name in getattr(belvo_links, "__all__", ()):
    getattr(belvo_links, name)
print("done")
"""
    assert run_python(code) == "done\n"


def test_ring_1_loads_no_effects() -> None:
    """Seen from outside: with all of ring 1 imported, aiohttp and the stores' drivers are still unloaded."""
    names = [f"belvo_links.{name}" for name in RING_1 if exists(name)]
    loaded = loaded_by("\n".join(f"import {name}" for name in names))
    assert loaded.isdisjoint({"aiohttp", "sqlite3", "redis", "psycopg"})


def test_import_rules_name_every_module_of_ring_1() -> None:
    contracts = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
    listed = set(contracts["ring-1"]["source_modules"])
    assert listed == {f"belvo_links.{name}" for name in RING_1 if exists(name)}


def test_banned_calls_are_banned_in_every_module_of_ring_1() -> None:
    """Ruff's list of banned calls is freed by one negated pattern; it must hold exactly ring 1."""
    patterns = [
        pattern for pattern, rules in PROJECT["tool"]["ruff"]["lint"]["per-file-ignores"].items() if "TID251" in rules
    ]
    assert len(patterns) == 1
    for name in RING_1:
        folder, _, last = name.rpartition(".")
        assert folder in {"", "transport"}
        assert re.search(rf"\b{last}\b", patterns[0]), name
    for name in filter(exists, RING_1):
        path = PACKAGE.joinpath(*name.split("."))
        last = name.rpartition(".")[2]
        if path.is_dir():
            assert f"{last}/**" in patterns[0], f"{name} has become a folder: write {last}/** in the pattern"
        else:
            assert f"{last}/**" not in patterns[0]

"""README.md and docs/**/*.md run as tests: the Python blocks of a document share names and one event loop."""

import ast
import asyncio
import inspect
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

RUNNER = "__runner__"


def evaluate(example: Example) -> None:
    """Run a block as a module body in which `await`, `async with` and `async for` may stand at the top."""
    __tracebackhide__ = True
    lines_before = example.line + example.parsed.line_offset
    code = compile(
        "\n" * lines_before + str(example.parsed),
        example.path,
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    names = example.namespace
    if code.co_flags & inspect.CO_COROUTINE:
        runner: asyncio.Runner = names[RUNNER]
        runner.run(eval(code, names))
    else:
        exec(code, names)


def set_up(names: dict[str, Any]) -> None:
    """Give a document its loop, and a module name for the classes that it defines."""
    names["__name__"] = "__document__"
    names[RUNNER] = asyncio.Runner(debug=True)


def tear_down(names: dict[str, Any]) -> None:
    """Close the document's loop, which also cancels what the document left running."""
    names.pop(RUNNER).close()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=evaluate), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    setup=set_up,
    teardown=tear_down,
).pytest()

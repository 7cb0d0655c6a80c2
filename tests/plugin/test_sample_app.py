"""The sample application is tested with nothing but the fixture, quickly."""

import re
import subprocess
import sys
import time
from pathlib import Path

APPLICATION = Path(__file__).resolve().parents[2] / "examples" / "sample_app"
KINDS = {
    "numeric": "[numeric]",
    "text": "[text]",
    "qr": "a_qr_code",
    "inputless": "[sim_mfa_inputless]",
    "chain": "a_chain",
    "wrong token": "a_wrong_token",
    "expired": "past_the_deadline",
    "lost reply": "a_reply_that_is_lost",
    "login error": "a_login_that_is_refused",
}
SECONDS = 5.0


def test_the_suite_of_the_sample_application_covers_every_challenge_in_under_five_seconds() -> None:
    """As its developers would run it: in its folder, with its own settings."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "."],
        cwd=APPLICATION,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.findall(r"::(test_\S+) PASSED", done.stdout)
    summary = re.search(r"= (\d+) passed in ([\d.]+)s =", done.stdout)
    assert summary, done.stdout
    assert len(passed) == int(summary[1]) >= 15
    assert {kind for kind, part in KINDS.items() if not any(part in name for name in passed)} == set()
    assert float(summary[2]) < SECONDS
    print(f"{summary[1]} tests in {summary[2]} s, with Python's start {took:.1f} s")  # noqa: T201 - for who looks


def test_the_suite_of_the_sample_application_uses_no_other_fixture_of_ours() -> None:
    """Neither the project's conftest nor anything of its tests."""
    suite = (APPLICATION / "test_connector.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^(?:from|import) (\S+)", suite, re.MULTILINE))
    assert imported == {
        "collections.abc",
        "pytest",
        "pytest_asyncio",
        "belvo_links",
        "belvo_links.sandbox",
        ".connector",
    }

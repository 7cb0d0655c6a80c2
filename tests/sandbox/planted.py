"""Mistakes planted in a copy of the simulator, one at a time: the tests beside this file must find each of them.

``python -m tests.sandbox.planted`` does it, two at a time; it takes a few minutes. Names of survivors are printed.
"""

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PLANTED: tuple[tuple[str, str, str], ...] = (
    # state: what time alone does
    ("state.py", "now >= self.stored_until:", "now > self.stored_until:"),
    ("state.py", "return self.lapse.to", "pass"),
    ("state.py", "now = self.lapse.at - timedelta(microseconds=1)", "now = self.lapse.at"),
    ("state.py", "return last + (now - last) // every * every if now >= last + every else last", "return last"),
    ("state.py", "return self.last_accessed_at + every", "return self.last_accessed_at + 2 * every"),
    ("state.py", "self.changes += 1\n        if link", "if link"),
    ("state.py", "self.settled_until = min(self.settled_until, link.changes_at)", "pass"),
    ("state.py", "link is not None and account in (None, link.account)", "link is not None"),
    # life: what happens by itself
    ("life.py", "if trigger.lapse_after:", "if False:"),
    ("life.py", "asked = needs_mfa(link)", "asked = False and needs_mfa(link)"),
    ("life.py", "always = recurrent or world.switches.historical_always", "always = recurrent"),
    ("life.py", "link.fetch_resources if recurrent else ()", "link.fetch_resources"),
    ("life.py", "link = evolve(link, lapse=None)\n        _later", "_later"),
    ("life.py", "now + DAY)", "now)"),
    ("life.py", 'if link.status != "valid":\n        return', "if False:\n        return"),
    ("life.py", "    world.schedule(link)\n    _history(world, link, work)", "    _history(world, link, work)"),
    ("life.py", "if world.scheduled.get(link.id) != work.due:", "if False:"),
    ("life.py", "world.tell(work.due, link, webhooks.LINK_DELETED, work.request_id)", "pass"),
    ("life.py", "return accessed + (rate(link.stale_in)", "return link.created_at + (rate(link.stale_in)"),
    # webhooks and their delivery
    ("webhooks.py", '"external_id": link.external_id,', '"external_id": None,'),
    ("webhooks.py", "if not self.allow_remote and", "if False and"),
    ("webhooks.py", "200 <= self.status < 300", "200 <= self.status < 400"),
    ("delivery.py", "parcel.tries <= config.repeats", "parcel.tries < config.repeats"),
    ("delivery.py", "seconds=parcel.tries * config", "seconds=config"),
    ("delivery.py", "parcel.copies < config.duplicates", "parcel.copies <= config.duplicates"),
    ("delivery.py", "if config.authorization is not None:", "if False:"),
    ("delivery.py", "allow_redirects=False", "allow_redirects=True"),
    ("delivery.py", "self._shuffle(batch)", "pass"),
    ("delivery.py", "timeout=timeout, ", ""),
    ("world.py", 'if event.type == "LINK" and not self.switches.link_events:', "if False:"),
    ("world.py", "for link in links if announce else ():", "for link in links:"),
    ("world.py", "random.Random(seed)", "random.Random()"),
    # scripts, faults, server
    ("scripts.py", "self.fault = step.fault", "pass"),
    ("scripts.py", "step = waiting.popleft()", "step = waiting[0]"),
    ("scripts.py", "waiting = self._waiting.get(name, ())", "waiting = ()"),
    ("logins.py", "return token == session.steps[0].token", 'return token == "111111"'),
    ("logins.py", "now < session.expires_at and", "now <= session.expires_at and"),
    ("logins.py", "session.link_id != link.id or", ""),
    ("logins.py", "id=session.id if keep else world.ids.hex()", "id=session.id"),
    ("server.py", "while window and now - window[0] >= WINDOW:", "while False:"),
    ("server.py", "if len(window) >= limit:", "if len(window) > limit:"),
    ("server.py", "self.world.scripts.fault = None  # one", "pass  # one"),
    ("server.py", "format_datetime(self.world.clock(), usegmt=True)", "format_datetime(self._clock(), usegmt=True)"),
    ("server.py", "not hmac.compare_digest(account.secret_password.encode(), secret.encode())", "not secret"),
    ("filters.py", "links.changes, now if timed else None", "0, now if timed else None"),
    ("filters.py", "now if timed else None)", "None)"),
    ("filters.py", "account, selection.key,", "selection.key,"),
    ("filters.py", "_moved(end, _SMALLEST)", "end"),
    ("filters.py", "_moved(begin, -_SMALLEST)", "begin"),
    ("filters.py", "statuses & wanted", "statuses | wanted"),
    ("filters.py", 'if name != "page"}', "}"),
    ("filters.py", "self.start >= count", "self.start > count"),
    ("calls.py", 'backwards=world.switches.list_order == "newest_first"', "backwards=True"),
    ("calls.py", "len(shown) > world.switches.largest_page", "len(found) > world.switches.largest_page"),
    ("calls.py", "resources or institution.resources", "institution.resources"),
    ("calls.py", "world.links.put(evolve(link, refreshed_at=now))", "pass"),
    ("calls.py", "    recent.append(now)\n", ""),
    ("calls.py", "if name in world.down:", "if False:"),
    ("rules.py", "kept_external_id(string(body", "(lambda each: each)(string(body"),
    ("rules.py", "math.ceil(left / timedelta(minutes=1))", "int(left / timedelta(minutes=1))"),
    ("catalogue.py", "set(wanted) <= set(one.shown_resources)", "set(wanted) & set(one.shown_resources)"),
    ("evidence.py", "if max(times.values()) > 1:", "if max(times.values()) > 2:"),
    ("evidence.py", "while moment - moments[first] >= window:", "while moment - moments[first] > window:"),
    ("record.py", "del record[:-limit]", "del record[limit:]"),
)
"""File, what stands there, and the mistake that takes its place."""


def survives(fault: tuple[str, str, str]) -> bool:
    """Plant one mistake in a copy of the project; tell whether the tests pass all the same."""
    name, right, wrong = fault
    with tempfile.TemporaryDirectory() as copy:
        for part in ("belvo_links", "tests/sandbox", "tests/payloads", "docs"):
            shutil.copytree(ROOT / part, Path(copy) / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / part, copy)
        path = Path(copy) / "belvo_links" / "sandbox" / name
        text = path.read_text(encoding="utf-8")
        if right not in text:
            raise ValueError(f"{name} no longer has: {right}")
        path.write_text(text.replace(right, wrong), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/sandbox"]
        return subprocess.run(command, cwd=copy, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Plant them all, and tell which were not found."""
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(PLANTED, pool.map(survives, PLANTED), strict=True))
    for (name, right, wrong), survived in found.items():
        if survived:
            print(f"{name}: not found: {wrong!r} in the place of {right!r}")  # noqa: T201 - a command prints
    print(f"{len(found) - sum(found.values())} of {len(found)} planted mistakes were found")  # noqa: T201 - a command prints
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Mistakes planted in a copy of the simulator, one at a time: the tests beside this file must find each of them.

``python -m tests.sandbox.planted`` does it, two at a time; it takes a few minutes. Names of survivors are printed.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PLANTED: tuple[tuple[str, str, str], ...] = (
    # state: what time alone does
    ("state.py", "age >= self.stored:", "age > self.stored:"),
    ("state.py", "return self.lapse_to", "pass"),
    ("state.py", "now = self.lapse.at - timedelta(microseconds=1)", "now = self.lapse.at"),
    ("state.py", "return last + (now - last) // every * every if now >= last + every else last", "return last"),
    ("state.py", "return self.last_accessed_at + every", "return self.last_accessed_at + 2 * every"),
    # links and columns: what lists are made of
    ("links.py", "link is not None and account in (None, link.account)", "link is not None"),
    ("links.py", "bisect_right(self.links, now - age", "bisect_left(self.links, now - age"),
    ("links.py", "bisect_right(self.links, last", "bisect_left(self.links, last"),
    ("links.py", "bisect_left(self._before, stop) * _BLOCK", "(block + 1) * _BLOCK"),
    ("links.py", "position in span and self.links[position] is found", "position in span"),
    ("links.py", "if self.links and links[0].order < self.links[-1].order:", "if False:"),
    ("links.py", "list(column.rare(values))", "[]"),
    ("columns.py", "if len(self._code_of) < RARE:", "if len(self._code_of) <= RARE:"),
    ("columns.py", "            self._left(old)\n", ""),
    ("columns.py", "same.remove(link.id)", "pass"),
    ("columns.py", "            del self._by_rare_value[value]", "            pass"),
    ("columns.py", "common &= number", "common |= number"),
    ("columns.py", "bytes((1, 0))", "bytes((1, 1))"),
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
    ("scripts.py", "self.fault = fault\n", "pass\n"),
    ("scripts.py", "step = waiting.popleft()", "step = waiting[0]"),
    ("scripts.py", "waiting = self._waiting.get(name, ())", "waiting = ()"),
    ("logins.py", "return token == session.steps[0].token", 'return token == "111111"'),
    ("logins.py", "now >= alive_until(session, link)", "now > alive_until(session, link)"),
    ("logins.py", "session.link_id != link.id or", ""),
    ("logins.py", "id=session.id if keep else world.ids.hex()", "id=session.id"),
    ("server.py", "while window and now - window[0] >= WINDOW:", "while False:"),
    ("server.py", "if len(window) >= limit:", "if len(window) > limit:"),
    ("server.py", "self.world.scripts.spoils = False  # one", "pass  # one"),
    ("server.py", "format_datetime(self.world.clock() + skew,", "format_datetime(self._clock() + skew,"),
    ("server.py", "not hmac.compare_digest(account.secret_password.encode(), secret.encode())", "not secret"),
    ("filters.py", "_moved(end, _SMALLEST)", "end"),
    ("filters.py", "_moved(begin, -_SMALLEST)", "begin"),
    ("filters.py", 'if (base, value) == ("refresh_rate", "null"):', "if False:"),
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
    # what is wanted of a request
    ("validation.py", "if not value.strip():", "if not value:"),
    ("validation.py", "re.fullmatch(pattern, value, re.ASCII)", "re.fullmatch(pattern, value)"),
    ("validation.py", "if len(value) < shortest:", "if len(value) <= shortest:"),
    ("validation.py", "len(value) > longest:", "len(value) >= longest:"),
    ("validation.py", 'if "\\0" in value:', "if False:"),
    ("validation.py", "None if spec.null else", "None if True else"),
    ("validation.py", "if present in body and missing not in body:", "if False:"),
    ("validation.py", 'if media_type != "application/json":', "if False:"),
    ("validation.py", "all(isinstance(item, str) for item in items)", "items is not None"),
    ("validation.py", "isinstance(value, bool) else", "isinstance(value, (bool, str)) else"),
    ("validation.py", "return str(UUID(value))", "return value"),
    ("routes.py", "or is_uuid(self.item)", "or True"),
    ("routes.py", 'if not strict_slash and not path.endswith("/"):', 'if not path.endswith("/"):'),
    ("rules.py", "own = _is_ours(body)", "own = False"),
    ("rules.py", "not _is_iron(institution) or _is_ours(body)", "not _is_iron(institution)"),
    ("rules.py", 'required=name == "password"', "required=False"),
    ("rules.py", "text(longest=16,", "text(longest=17,"),
    ("rules.py", 'if storage == "nostore" and not resources:', "if False:"),
    ("rules.py", 'if recurrent and storage not in (None, "store"):', "if False:"),
    ("rules.py", 'f"{institution}\\0{username}"', "username"),
    ("rules.py", "institution.mfa and registration.password == trigger.password", "institution.mfa"),
    (
        "rules.py",
        "institution.mfa and registration.password == trigger.password",
        "registration.password == trigger.password",
    ),
    ("rules.py", 'username != "adv_invalid" or _is_iron(institution)', "True"),
    ("rules.py", "or token == RIGHT_TOKEN:", "or token:"),
    ("rules.py", "INSTITUTIONS[link.institution].mfa and token", "token"),
    ("rules.py", 'storage or ("store" if recurrent else DEFAULT_STALE_IN)', 'storage or "store"'),
    ("rules.py", "(DEFAULT_STALE_IN if recurrent else None)", "DEFAULT_STALE_IN"),
    ("rules.py", "resources or (institution.core if recurrent else ())", "resources or institution.core"),
    ("rules.py", "if self.sets_stale_in:", "if self.stale_in is not None:"),
    ("rules.py", 'access_mode="single", refresh_rate=None,', 'access_mode="single",'),
    ("rules.py", "now - moment < timedelta(minutes=1)", "now - moment <= timedelta(minutes=1)"),
    ("rules.py", "free_at = window[-limit]", "free_at = window[0]"),
    # what is answered
    ("answers.py", '.replace(b"&", b"\\\\u0026")', ""),
    ("answers.py", "body = elements[0]", "body = elements"),
    ("answers.py", "if problem.field is not None:", "if False:"),
    ("answers.py", "datetime.fromisoformat(timestamp) + by", "datetime.fromisoformat(timestamp) - by"),
    ("answers.py", "_moved(value, by) if _TIMESTAMP.fullmatch(value) else value", "value"),
    ("state.py", 'timespec="microseconds"', 'timespec="milliseconds"'),
    ("state.py", "version=4", "version=1"),
    ("calls.py", "if link.trigger is not None and link.trigger.denied:", "if False:"),
    ("calls.py", 'saved and call.world.switches.complete_status == "by_save_data"', "saved"),
    ("calls.py", 'status="unconfirmed" if steps else "valid"', 'status="valid"'),
    ("calls.py", "last_accessed_at=None if steps else now", "last_accessed_at=now"),
    ("calls.py", "if not trigger.error_once or first not in world.met:", "if True:"),
    ("calls.py", 'if password == "pass_invalid":', "if False:"),
    ("calls.py", 'if link.status == "unconfirmed":', "if False:"),
    ("calls.py", 'if link.passed != "delete" and', "if"),
    ("calls.py", 'if link.passed != "detail" and', "if"),
    ("calls.py", 'call.headers.get("x-belvo-request-mode") == "async"', '"x-belvo-request-mode" in call.headers'),
    ("calls.py", "on_success=changes.applied_to", "on_success=lambda link: link"),
    ("calls.py", "link.trigger.steps if at_once else", "()  if at_once else"),
    ("calls.py", 'if link.status != "token_required":\n        return ()', "if True:\n        return ()"),
    ("calls.py", "rules.check_cooldown(", "(lambda *a, **k: None)("),
    (
        "calls.py",
        "    if not rules.has_credentials(link, now):\n        raise RefusalError(answers.MISSING",
        "    if False:\n        raise RefusalError(answers.MISSING",
    ),
    ("filters.py", "min(size, LARGEST_PAGE)", "size"),
    ("filters.py", "if number > 1:", "if number > 0:"),
    ("filters.py", "(kept is None or name in kept) and name not in dropped", "kept is None or name in kept"),
    ("filters.py", "return (values[-1] or None) if values else None", "return (values[0] or None) if values else None"),
    # logins
    (
        "logins.py",
        'as_text = world.switches.expiry_as_text or shape == "text_expiry"',
        'as_text = shape == "text_expiry"',
    ),
    ("logins.py", 'if again and shape == "silent_second":', "if False:"),
    ("logins.py", '"expect_user_input" if guide_spelling else "expects_user_input"', '"expects_user_input"'),
    ("logins.py", "steps=left, early=0, confirmed=False", "steps=left"),
    ("logins.py", "evolve(session, early=session.early + 1)", "session"),
    ("logins.py", "switches.expiry_seconds if own is None else own", "switches.expiry_seconds"),
    ("logins.py", "min(session.expires_at, link.created_at + NOSTORE_LIFE)", "session.expires_at"),
    (
        "logins.py",
        "expires_at=now + timedelta(seconds=session.expiry),\n        round",
        "expires_at=session.expires_at,\n        round",
    ),
    (
        "logins.py",
        '    del world.sessions[session.id]\n    world.on_login(session, "completed")',
        '    world.on_login(session, "completed")',
    ),
    ("world.py", "if session.link_id == link_id]:\n            del", "if False]:\n            del"),
    # institutions
    ("institutions.py", '(*self.fields, "token") if self.mfa else self.fields', "self.fields"),
    ("institutions.py", '"down" if self.name in down else "healthy"', '"healthy"'),
    ("institutions.py", 'form["optional"] = True', "pass"),
    ("institutions.py", '(*self.resources, "BALANCES") if self.type == "bank" else self.resources', "self.resources"),
    ("institutions.py", "features if self.mfa else []", "features"),
    ("institutions.py", 'return "password" in self.fields', "return True"),
    ("catalogue.py", 'if name == "type" and value not in TYPES:', "if False:"),
    ("calls.py", "for each in page.cut(found)]))", "for each in found]))"),
    # faults of one request
    ("faults.py", "                if not entry.left:\n", "                if entry.left:\n"),
    ("faults.py", "entry.template not in (None, template)", "False"),
    ("faults.py", "code=code, body=_gateway_page(code), headers=_HTML)", "code=code, body=_gateway_page(code))"),
    ("scripts.py", "waiting.appendleft(evolve(step, fault=None))", "pass"),
    ("scripts.py", "if self.spoils and step.fault is not None:", "if step.fault is not None:"),
    ("scripts.py", "raise EarlyFaultError(fault)", "self.fault = fault"),
    ("server.py", "            if not counted:\n", "            if True:\n"),
    ("server.py", "            self.world.switches = own\n", "            pass\n"),
    ("server.py", "shifted(answer, skew), skew=skew", "shifted(answer, skew)"),
    ("server.py", "shifted(answer, skew), skew=skew", "answer, skew=skew"),
    ("server.py", "switches.clock_skew_seconds - own.clock_skew_seconds", "switches.clock_skew_seconds"),
    ("server.py", "                _broken(request)\n                await", "                await"),
    ("server.py", "_elsewhere(answer, str(fault.body))", "answer"),
    ("server.py", "content[: len(content) // 2]", "content"),
    ("server.py", 'scheme.lower() == "basic"', "True"),
    ("server.py", "raise RefusalError(answers.NOT_AUTHENTICATED)", "raise RefusalError(answers.AUTHENTICATION_FAILED)"),
    ("server.py", 'headers={"Allow": ", ".join(sorted(methods))}', "headers={}"),
    ("server.py", "self.tokens.append(token)", "pass"),
)
"""File, what stands there, and the mistake that takes its place."""


NEAREST: Mapping[str, Sequence[str]] = {
    "answers.py": ("protocol", "listing", "every_fault"),
    "calls.py": ("link_calls", "complete", "register", "listing", "triggers", "switches", "institutions", "webhooks"),
    "catalogue.py": ("institutions",),
    "columns.py": ("filtering", "listing"),
    "delivery.py": ("webhooks",),
    "evidence.py": ("evidence",),
    "faults.py": ("faults", "every_fault"),
    "filters.py": ("listing", "filtering"),
    "institutions.py": ("institutions", "register"),
    "life.py": ("time", "webhooks"),
    "links.py": ("filtering", "listing"),
    "logins.py": ("complete", "scripts"),
    "record.py": ("evidence",),
    "routes.py": ("protocol",),
    "rules.py": ("register", "link_calls", "triggers", "time"),
    "scripts.py": ("scripts", "every_fault"),
    "server.py": ("every_fault", "protocol", "switches", "faults", "scripts", "complete"),
    "state.py": ("time", "listing", "register"),
    "validation.py": ("register", "protocol", "link_calls", "complete"),
    "webhooks.py": ("webhooks",),
    "world.py": ("time", "webhooks", "complete"),
}
"""Where the tests of a file are that most likely find its mistakes; all others come after them."""


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of what the tests of the simulator need."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for part in ("belvo_links", "tests/sandbox", "tests/payloads", "docs"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / part, copy)
        yield copy


def pass_in(copy: Path, *tests: str) -> bool:
    """Whether these tests pass there; all of them where none are named."""
    paths = [f"tests/sandbox/test_{name}.py" for name in tests] or ["tests/sandbox"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *paths]
    environment = {**os.environ, "PYTHONPATH": str(copy)}  # rather than where the package is installed from
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode == 0


def planted(fault: tuple[str, str, str]) -> str:
    """The file with the mistake in it.

    Raises:
        ValueError: What it should take the place of is no longer there.
        SyntaxError: The file could not even be read with it.
    """
    name, right, wrong = fault
    text = (ROOT / "belvo_links" / "sandbox" / name).read_text(encoding="utf-8")
    if right not in text:
        raise ValueError(f"{name} no longer has: {right}")
    text = text.replace(right, wrong)
    ast.parse(text)  # otherwise no test would find the mistake, but the import
    return text


def survives(fault: tuple[str, str, str], *, nearest: bool = False) -> bool:
    """Plant one mistake in a copy of the project; tell whether the tests pass all the same.

    With ``nearest``, only those that most likely find it are run.
    """
    name = fault[0]
    with copied() as copy:
        (copy / "belvo_links" / "sandbox" / name).write_text(planted(fault), encoding="utf-8")
        return pass_in(copy, *NEAREST[name]) and (nearest or pass_in(copy))


def main() -> int:
    """Plant them all, and tell which were not found."""
    with copied() as copy:
        if not pass_in(copy):
            print("the tests fail without any mistake")  # noqa: T201 - a command prints
            return 2
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(PLANTED, pool.map(survives, PLANTED), strict=True))
    for (name, right, wrong), survived in found.items():
        if survived:
            print(f"{name}: not found: {wrong!r} in the place of {right!r}")  # noqa: T201 - a command prints
    print(f"{len(found) - sum(found.values())} of {len(found)} planted mistakes were found")  # noqa: T201 - a command prints
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

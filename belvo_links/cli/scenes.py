"""The scenes of the demo: what is said, what a user would write, what is done, what the server must have received."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from belvo_links.cli import processes
from belvo_links.cli.audited import audited
from belvo_links.cli.stage import (
    RIGHT,
    Outcome,
    PromiseBrokenError,
    Scene,
    Stage,
    ask,
    challenged,
    linked,
    promise,
    short,
    shown,
)
from belvo_links.client.pending import PendingSession
from belvo_links.errors import AlreadyClaimedError, AlreadySettledError, RefreshCooldownError
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.models import Link
from belvo_links.qr import to_modules
from belvo_links.sandbox.faults import Fault
from belvo_links.wire import JsonValue

WRONG: Final = "999999"
CROWD: Final = 100
"""Completions at the same time."""
BANK_TAKES: Final = 0.25
"""Seconds of the Complete that the crowd is after, so that all of them come while it is under way."""
PERSON_TAKES: Final = 0.5
"""Seconds until the person has confirmed in the bank's app."""
AT_MOST: Final = 30.0
"""Seconds to wait for that; far more than a slow machine needs."""


async def _plain(stage: Stage) -> Outcome:
    result = await stage.belvo.register("erebor_mx_retail", Credentials("bnk100", "full"), external_id="user-1")
    link = linked(stage, result)
    return Outcome(f"{short(link)} is {link.status}.", {"link": shown(link)})


async def _numeric(stage: Stage) -> Outcome:
    credentials = Credentials("mfa_numeric", "numeric_code")
    pending = challenged(await ask(stage.belvo, "heimdall_mx_retail", credentials, "user-2"), "numeric")
    challenge = pending.challenge
    promise(challenge.value is not None, "the challenge shows no number")
    stored = pending.to_json()
    promise(RIGHT not in stored and "numeric_code" not in stored, "the stored text holds a secret of the person")
    link = linked(stage, await stage.belvo.restore(stored).complete(RIGHT))
    return Outcome(
        f"{short(link)} is {link.status}.",
        {"challenge": str(challenge.kind), "value": challenge.value, "link": shown(link)},
        events=(f'The bank shows {challenge.value}: "{challenge.instructions}".', f"The person types {RIGHT}."),
    )


async def _qr(stage: Stage) -> Outcome:
    credentials = Credentials("mfa_qr", "qr_code")
    pending = challenged(await ask(stage.belvo, "heimdall_br_retail", credentials, "user-3"), "qr")
    code = pending.challenge.qr
    if code is None:
        raise PromiseBrokenError("the challenge shows no QR code")
    modules = len(to_modules(code))
    link = linked(stage, await pending.complete(RIGHT))
    data: dict[str, JsonValue] = {"challenge": "qr", "media_type": code.media_type, "modules": modules}
    return Outcome(
        f"{short(link)} is {link.status}.",
        {**data, "link": shown(link)},
        events=(f"The bank's app reads this code and shows {RIGHT}; the person types it.",),
        qr=code,
    )


async def _second_round(stage: Stage) -> Outcome:
    first = challenged(
        await ask(stage.belvo, "gotham_mx_business", Credentials("sim_mfa_text", "any"), "user-4"), "text"
    )
    second = challenged(await first.complete(WRONG), "text", round_=2)
    promise(second.id == first.id, "the second round has another id")
    link = linked(stage, await second.complete(RIGHT))
    return Outcome(
        f"{short(link)} is {link.status} after {second.round} rounds.",
        {"rounds": second.round, "same_id": second.id == first.id, "link": shown(link)},
        events=(
            f"Round 1: the person types {WRONG}, and the bank asks again.",
            f"Round 2, the same pending.id: the person types {RIGHT}.",
        ),
    )


async def _chain(stage: Stage) -> Outcome:
    asked: list[str] = []

    async def ask_the_person(pending: PendingSession) -> str | None:
        asked.append(str(pending.challenge.kind))
        return RIGHT

    credentials = Credentials("sim_mfa_chain", "any")
    link = await stage.belvo.register(
        "heimdall_co_retail",
        credentials,
        external_id="user-5",
        access_mode="single",
        on_challenge=ask_the_person,
    )
    linked(stage, link)
    promise(asked == ["numeric", "text"], f"the callback was asked for {', '.join(asked) or 'nothing'}")
    return Outcome(
        f"{short(link)} is {link.status}; register() returned it.",
        {"asked": list(asked), "link": shown(link)},
        events=tuple(
            f"Round {number}: the callback answers a {kind} challenge." for number, kind in enumerate(asked, 1)
        ),
    )


async def _crowd(stage: Stage) -> Outcome:
    credentials = Credentials("mfa_numeric", "numeric_code")
    pending = challenged(await ask(stage.belvo, "gotham_co_business", credentials, "user-6"), "numeric")
    stage.box.inject(Fault.delay(BANK_TAKES), method="PATCH", template="/api/links/")
    calls = (stage.belvo.complete(pending.id, RIGHT) for _ in range(CROWD))
    results = await asyncio.gather(*calls, return_exceptions=True)
    links = [result for result in results if isinstance(result, Link)]
    # Settled already is what those find who come last on a machine that is slower than the bank.
    refusals = [
        type(result).__name__ for result in results if isinstance(result, AlreadyClaimedError | AlreadySettledError)
    ]
    kinds = Counter(type(result).__name__ for result in results)
    promise((len(links), len(refusals)) == (1, CROWD - 1), f"the calls ended as {dict(kinds)}")
    link = linked(stage, links[0])
    told = " and ".join(f"{number} got {name}" for name, number in sorted(Counter(refusals).items()))
    return Outcome(
        f"{short(link)} is {link.status}: {CROWD} calls, one request.",
        {
            "calls": CROWD,
            "links": len(links),
            "refused": len(refusals),
            "refused_with": sorted(set(refusals)),
            "link": shown(link),
        },
        events=(f"1 call got the link; {told} at once and sent nothing.",),
    )


async def _confirmed_elsewhere(stage: Stage) -> Outcome:
    credentials = Credentials("sim_mfa_inputless", "any")
    pending = challenged(await ask(stage.belvo, "erebor_br_retail", credentials, "user-9"), "inputless")
    person = asyncio.get_running_loop().call_later(PERSON_TAKES, stage.box.confirm, pending.link_id)
    try:
        link = linked(stage, await pending.wait(timeout=AT_MOST))
    finally:
        person.cancel()
    rounds = (await stage.belvo.pending(pending.id)).round
    return Outcome(
        f"{short(link)} is {link.status}; nobody typed anything.",
        {"action": str(pending.challenge.action), "rounds": rounds, "link": shown(link)},
        events=(
            f'The bank says: "{pending.challenge.instructions}".',
            f"pending.wait() asks now and then; the person confirms after {PERSON_TAKES:g} s.",
            f"Rounds until then, all without a token: {rounds}.",
        ),
        calls={"Register": 1, "Complete": rounds},
    )


async def _cooldown(stage: Stage) -> Outcome:
    link = stage.links[0]
    accepted = await stage.belvo.refresh(link.id)
    try:
        await stage.belvo.refresh(link.id)
    except RefreshCooldownError as error:
        wait = error.retry_after
    else:
        raise PromiseBrokenError("a second refresh at once was accepted")
    if wait is None:
        raise PromiseBrokenError("the refusal does not say how long to wait")
    stage.box.advance(seconds=wait.total_seconds())
    again = await stage.belvo.refresh(link.id)
    return Outcome(
        f"{short(link)} was refreshed twice, {wait.total_seconds() / 60:g} minutes apart.",
        {"accepted": [accepted.request_id, again.request_id], "retry_after_seconds": wait.total_seconds()},
        events=(
            "The first is accepted; a webhook would tell the end.",
            f"The second raises RefreshCooldownError, and error.retry_after is {wait}.",
            "The simulator's clock is put forward by that; the third is accepted.",
        ),
    )


async def _by_status(stage: Stage) -> Outcome:
    credentials = Credentials("sim_mfa_text", "any")
    challenged(await ask(stage.belvo, "heimdall_mx_retail", credentials, "user-10"), "text")
    stage.box.set_status(stage.links[0].id, "invalid")
    stage.links = [link async for link in stage.belvo.iterate()][::-1]
    counts = Counter(str(link.status) for link in stage.links)
    theirs = {link["id"]: link["status"] for link in stage.box.links}
    promise({link.id: link.status for link in stage.links} == theirs, "the list is not what the simulator holds")
    said = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    return Outcome(
        f"{len(stage.links)} links: {said}.",
        {"total": len(stage.links), "by_status": dict(counts.most_common())},
        events=("user-10 closed the page before typing a token; user-1 has a new password at the bank.",),
    )


SCENES: Final = (
    Scene(
        name="A plain registration",
        said="This bank asks for nothing but user name and password, so the link is there at once.",
        code="""\
credentials = Credentials("bnk100", "full")
link = await belvo.register("erebor_mx_retail", credentials)""",
        play=_plain,
        calls={"Register": 1},
    ),
    Scene(
        name="A numeric challenge",
        said="This bank wants a second factor. Belvo answers 428, and that becomes a pending session: it is stored as"
        " text, without password or token, and continued from there.",
        code=f"""\
pending = await belvo.register("heimdall_mx_retail", credentials)
stored = pending.to_json()
link = await belvo.restore(stored).complete("{RIGHT}")""",
        play=_numeric,
        calls={"Register": 1, "Complete": 1},
        tokens={RIGHT: 1},
    ),
    Scene(
        name="A QR challenge",
        said="Some banks show a code to scan. It comes as an image or as text, and is decoded either way.",
        code=f"""\
print(to_terminal(pending.challenge.qr))
link = await pending.complete("{RIGHT}")""",
        play=_qr,
        calls={"Register": 1, "Complete": 1},
        tokens={RIGHT: 1},
    ),
    Scene(
        name="A wrong token, and a second round",
        said="After a wrong token the bank asks again. That is the next round of the same pending session, not an"
        " error.",
        code=f"""\
pending = await pending.complete("{WRONG}")   # round 2
link = await pending.complete("{RIGHT}")""",
        play=_second_round,
        calls={"Register": 1, "Complete": 2},
        tokens={WRONG: 1, RIGHT: 1},
    ),
    Scene(
        name="Two challenges in a row, answered by a callback",
        said="With on_challenge the SDK goes through all the rounds by itself, and the result is always a link.",
        code="""\
link = await belvo.register(
    "heimdall_co_retail", credentials, on_challenge=ask_the_person
)""",
        play=_chain,
        calls={"Register": 1, "Complete": 2},
        tokens={RIGHT: 2},
    ),
    Scene(
        name="A hundred completions at the same time",
        said="A double click, a retrying proxy, a hundred workers: a one-time code goes out once. The bank takes its"
        " time here, so that all of them come while it is busy.",
        code=f"""\
calls = [belvo.complete(pending.id, "{RIGHT}") for _ in range({CROWD})]
results = await asyncio.gather(*calls, return_exceptions=True)""",
        play=_crowd,
        calls={"Register": 1, "Complete": 1},
        tokens={RIGHT: 1},
    ),
    Scene(
        name="Another process completes",
        said="Web backends and workers come and go while a person looks for a code. Pending sessions in a file outlive"
        " them, and any process that opens it can go on. The token reaches it through a pipe.",
        code=f"""\
belvo = BelvoLinks(..., store=SqliteStore("pending.db"))
pending = await belvo.register("gotham_br_business", credentials)

# in another process, with such a client of its own:
link = await belvo.complete(pending_id, "{RIGHT}", round=1)""",
        play=processes.handed_over,
        calls={"Register": 1, "Complete": 1, "Get": 1},
        tokens={RIGHT: 1},
        meanwhile="another process starts",
    ),
    Scene(
        name="A process is killed in the middle",
        said="The worst moment: the bank has accepted the token, and the process dies before it can note that. Nobody"
        " may send the token again, and the link must not be lost.",
        code=f"""\
os.kill(worker, SIGKILL)                     # it was completing
await belvo.complete(pending.id, "{RIGHT}")   # AlreadyClaimedError
await belvo.complete(pending.id, "{RIGHT}")   # IndeterminateOutcomeError
link = await pending.reconcile()""",
        play=processes.killed,
        calls={"Register": 1, "Complete": 1, "Get": 1},
        tokens={RIGHT: 1},
        meanwhile="a process is killed, and its claim runs out",
    ),
    Scene(
        name="A confirmation in the bank's app",
        said="Some banks want no token: the person confirms on a telephone, and the login here waits for that.",
        code="""\
pending = await belvo.register("erebor_br_retail", credentials)
link = await pending.wait()""",
        play=_confirmed_elsewhere,
        meanwhile="waiting for the person to confirm in the bank's app",
    ),
    Scene(
        name="A refresh and its cooldown",
        said="Belvo refreshes a link at most once in ten minutes. An earlier attempt is refused, and the error says"
        " how long to wait.",
        code="""\
await belvo.refresh(link.id)
await belvo.refresh(link.id)   # RefreshCooldownError
await belvo.refresh(link.id)   # ten minutes later""",
        play=_cooldown,
        calls={"Refresh": 3},
    ),
    Scene(
        name="The links by status",
        said="All links of the account, in one pass over its pages. Two of them need attention: one login was left"
        " unfinished, one bank no longer accepts the password.",
        code="""\
links = [link async for link in belvo.iterate()]""",
        play=_by_status,
        calls={"Register": 1, "List": 1},
    ),
    Scene(
        name="An audit",
        said="An audit reads every link once, even while others come and go, says what needs attention and which call"
        " mends it, and writes a report.",
        code="""\
with await audit(belvo) as report:
    await report.write_html("audit.html")""",
        play=audited,
        meanwhile="auditing all links",
    ),
)
"""The demo, in order."""

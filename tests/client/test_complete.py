"""Every link that exists throughout, exactly once, while at least one in twenty is created or deleted."""

from collections.abc import AsyncIterator, Callable

import pytest

from belvo_links import BelvoLinks, NotFoundError
from tests.client.changing import LEAST_CHANGED, Reading, iterated, runs, scanned
from tests.processes.crew import PROVING, size

pytestmark = pytest.mark.timeout(1800 if PROVING else 60)


@pytest.mark.prove
@pytest.mark.parametrize("reading", [iterated, scanned])
async def test_no_link_is_missed_and_none_is_given_twice(reading: Reading, tell: Callable[[str], None]) -> None:
    """A thousand runs at random in `nox -s prove`; a few of them, always the same, otherwise."""
    done = await runs(size(usual=12, full=1000), reading)
    assert [run for run in done if not run.is_complete] == []
    assert min(run.changed / run.links for run in done) >= LEAST_CHANGED
    links, changed = sum(run.links for run in done), sum(run.changed for run in done)
    pages, requests = sum(run.pages for run in done), sum(run.requests for run in done)
    tell(
        f"{reading.__name__}: {len(done)} runs, {links} links, {changed} of them changed ({changed / links:.0%}), "
        f"{requests} requests for {pages} pages, 0 missed, 0 twice"
    )


async def naive(belvo: BelvoLinks, page_size: int, concurrency: int) -> AsyncIterator[str]:
    """Page after page, each id once."""
    seen = set[str]()
    try:
        for number in range(1, 10_000):
            page = await belvo.page(page=number, page_size=page_size)
            for link in page.results:
                if link.id not in seen:
                    seen.add(link.id)
                    yield link.id
    except NotFoundError:
        return


async def test_page_after_page_misses_links() -> None:
    """So the test above can fail."""
    done = await runs(12, naive)
    assert sum(not run.is_complete for run in done) > 6
    assert all(run.twice == 0 for run in done)

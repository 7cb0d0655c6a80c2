"""One scene of the demo by itself."""

from collections.abc import Callable

from belvo_links.cli import demo, scenes
from belvo_links.cli.stage import Stage, simulator
from belvo_links.client.links import BelvoLinks
from belvo_links.sandbox import Sandbox

REFRESH = 10


async def played(
    number: int, client: type[BelvoLinks] = BelvoLinks, *, prepare: Callable[[Sandbox], None] | None = None
) -> demo.Step:
    """Play one scene on a stage of its own, after something was done to the simulator."""
    async with (
        simulator() as box,
        client(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo,
    ):
        stage = Stage(box, belvo)
        if number == REFRESH:
            await demo.play(scenes.SCENES[0], stage)  # which makes the link to refresh
        if prepare:
            prepare(box)
        return await demo.play(scenes.SCENES[number - 1], stage)

"""Run the application with a simulator of Belvo's API, so that it can be tried without keys and without a bank.

`python -m examples.web_fastapi` starts the simulator and two processes that serve the application.
"""

import argparse
import asyncio
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from belvo_links.sandbox import Sandbox, Step, Switches

HOW = """\
The application:  {url}
The user's phone: {phone}

Choose Heimdall Bank Mexico, and log in as
  mfa_default   pass_valid     a question
  mfa_numeric   numeric_code   a number to type into a device
  mfa_qr        qr_code        a QR code
  sim_mfa_chain full           one question after the other
  sim_confirm   full           confirm on the phone
  sim_lapse_token full         connected, until the phone's page is moved on by 8 days

The token is 111111, and 999999 is wrong. Ctrl-C ends it all."""


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.web_fastapi", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    switches = Switches(expiry_seconds=720, confirm_after=None)
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox(switches=switches, control_key=secrets.token_urlsafe(16)) as box:
            box.script("sim_confirm", [Step.challenge("inputless"), Step.link()] * 100)
            url, authorization = f"http://127.0.0.1:{given.port}", f"Bearer {secrets.token_urlsafe(16)}"
            box.deliver_webhooks_to(f"{url}/webhooks", authorization=authorization)
            print(HOW.format(url=url, phone=box.page_url), flush=True)
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "uvicorn", "--factory", "examples.web_fastapi.app:create_app"),
                *("--port", str(given.port), "--no-access-log", "--log-level", "warning"),
                *("--timeout-graceful-shutdown", "5"),
                env={
                    **os.environ,
                    **box.env,
                    "WEB_CONCURRENCY": str(given.processes),
                    "APP_SECRET": secrets.token_urlsafe(32),
                    "APP_PENDING": str(Path(folder) / "pending.db"),
                    "APP_DATABASE": str(Path(folder) / "accounts.db"),
                    "APP_WEBHOOK_AUTHORIZATION": authorization,
                },
            )
            return await until(stopping, server)


async def until(stopping: asyncio.Event, server: asyncio.subprocess.Process) -> int:
    """Wait until the server ends, or is to end."""
    ended, asked = asyncio.ensure_future(server.wait()), asyncio.ensure_future(stopping.wait())
    await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if server.returncode is None:
        server.terminate()
        await ended
        return 0
    return server.returncode


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

"""The pytest plugin, as the tests of others use it: every example is a test run in a process of its own."""

import re
import textwrap
from pathlib import Path

from tests.plugin.projects import ASYNC_SETTINGS, SETTINGS, Project


def test_sync_tests_without_an_async_plugin_have_a_simulator(project: Project) -> None:
    """Also where pytest-asyncio is not installed; and each test's box is clean, and the same for the same seed."""
    run = project.run(
        """
        keys = []

        @pytest.mark.parametrize("number", [1, 2])
        def test_reads(belvo_sandbox, number):
            keys.append(belvo_sandbox.secret_id)
            assert belvo_sandbox.links == belvo_sandbox.requests == []
            assert read(belvo_sandbox) == 200
            assert [one.method for one in belvo_sandbox.requests] == ["GET"]
            belvo_sandbox.add_links(3)
            belvo_sandbox.advance(days=1)
            assert len(belvo_sandbox.links) == 3
            assert set(belvo_sandbox.env) == {"BELVO_SECRET_ID", "BELVO_SECRET_PASSWORD", "BELVO_BASE_URL"}

        def test_registers(belvo_sandbox):
            asyncio.run(register(belvo_sandbox))
            assert len(belvo_sandbox.links) == 1
            assert len(set(keys)) == 1

        def test_has_a_thread_of_its_own(belvo_sandbox):
            assert [thread.name for thread in threading.enumerate()] == ["MainThread", "belvo_links.sandbox"]

        def test_leaves_no_thread():
            assert threading.active_count() == 1
        """
    )
    assert run.counts(passed=5), run.out


def test_async_tests_have_a_simulator_whatever_the_scope_of_their_loop(project: Project) -> None:
    """Each test has its own simulator, also where many share one loop, and sync tests stand between them."""
    scopes = ("function", "class", "module", "session")
    tests = """
        async def complete(belvo_sandbox):
            async with client(belvo_sandbox) as belvo:
                pending = await belvo.register("erebor_mx_retail", Credentials("sim_mfa_text", "secret_word"))
                await pending.complete("111111")
            belvo_sandbox.assert_token_sent_once("111111")
            assert [link["status"] for link in belvo_sandbox.links] == ["valid"]

        def test_sync(belvo_sandbox):
            assert read(belvo_sandbox) == 200
    """
    for scope in scopes:
        tests += f"""
        class Test{scope.title()}:
            loops = set()

            @pytest.mark.asyncio(loop_scope="{scope}")
            @pytest.mark.parametrize("number", [1, 2])
            async def test_completes(self, belvo_sandbox, number):
                self.loops.add(asyncio.get_running_loop())
                assert len(self.loops) == {"number" if scope == "function" else 1}
                await complete(belvo_sandbox)

            def test_sync(self, belvo_sandbox):
                assert read(belvo_sandbox) == 200
        """
    run = project.run(textwrap.dedent(tests), settings=f"{ASYNC_SETTINGS}asyncio_debug = true\n")
    assert run.counts(passed=1 + 3 * len(scopes)), run.out


def test_a_marker_and_the_settings_choose_seed_and_switches(project: Project) -> None:
    """The closest marker wins, switch by switch."""
    settings = (
        f"{SETTINGS}belvo_sandbox_seed = 7\nbelvo_sandbox_switches =\n    page_size = 3\n    error_shape = object\n"
    )
    run = project.run(
        """
        from belvo_links.sandbox import Sandbox, Switches

        def switches(box):
            return box._box._world.switches

        def test_settings(belvo_sandbox):
            assert belvo_sandbox.secret_id == Sandbox(seed=7).secret_id
            assert switches(belvo_sandbox) == Switches(page_size=3, error_shape="object")

        @pytest.mark.belvo_sandbox(seed=8)
        class TestMarked:
            @pytest.mark.belvo_sandbox(switches={"page_size": 5})
            def test_both(self, belvo_sandbox):
                assert belvo_sandbox.secret_id == Sandbox(seed=8).secret_id
                assert switches(belvo_sandbox) == Switches(page_size=5, error_shape="object")

            @pytest.mark.belvo_sandbox(switches=Switches(page_size=6), seed=9)
            def test_a_value(self, belvo_sandbox):
                assert belvo_sandbox.secret_id == Sandbox(seed=9).secret_id
                assert switches(belvo_sandbox) == Switches(page_size=6)

        @pytest.mark.belvo_sandbox(port=1)
        def test_unknown(belvo_sandbox):
            pass

        @pytest.mark.belvo_sandbox(switches={"page_size": 0})
        def test_wrong(belvo_sandbox):
            pass
        """,
        settings=settings,
    )
    assert run.counts(passed=3, errors=2), run.out
    assert "belvo_sandbox: the marker takes seed= and switches=" in run.out


def test_what_goes_wrong_in_the_simulator_fails_the_test(project: Project) -> None:
    """Whatever its client makes of that; the next test has a new one."""
    run = project.run(
        """
        def test_broken_handler(belvo_sandbox):
            belvo_sandbox._box._world.accounts = None  # as good as any mistake
            assert read(belvo_sandbox) == 500

        def test_broken_loop(belvo_sandbox):
            def broken():
                raise LookupError("in a callback")
            def left():
                raise ConnectionResetError
            loop = belvo_sandbox._thread._loop
            belvo_sandbox._thread.call(loop.call_soon, broken)
            belvo_sandbox._thread.call(loop.call_soon, left)

        def test_fine(belvo_sandbox):
            assert read(belvo_sandbox) == 200
        """
    )
    assert run.counts(passed=3, errors=2), run.out
    assert "the simulator itself has failed" in run.out
    assert "this is about the simulator" in run.out
    assert "AttributeError: 'NoneType' object has no attribute 'get'" in run.out
    assert "LookupError: in a callback" in run.out
    assert "ConnectionResetError" not in run.out


def test_calls_from_anywhere_go_to_the_thread_of_the_simulator(project: Project) -> None:
    """Failures come back as if it were here, and what would stop a loop is refused."""
    run = project.run(
        """
        from concurrent.futures import ThreadPoolExecutor
        from belvo_links.sandbox import Fault

        def test_threads(belvo_sandbox):
            belvo_sandbox.inject(Fault.status(503), times=8)
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(read, [belvo_sandbox] * 8)) == {503}
                list(pool.map(belvo_sandbox.add_links, [5] * 8))
            assert len(belvo_sandbox.links) == 40
            assert belvo_sandbox.count("GET") == 8
            assert belvo_sandbox.settle() == 0
            belvo_sandbox.requests.clear()
            belvo_sandbox.assert_nothing_sent()

        def test_face(belvo_sandbox):
            assert repr(belvo_sandbox).startswith("<Sandbox at http://127.0.0.1:")
            assert {"links", "advance", "settle"} <= set(dir(belvo_sandbox))
            assert not hasattr(belvo_sandbox, "start") and not hasattr(belvo_sandbox, "no_such_thing")
            assert belvo_sandbox.advance.__doc__
            assert belvo_sandbox.client_options["clock"]() is not None

        def test_from_within(belvo_sandbox):
            assert belvo_sandbox._thread.call(lambda: belvo_sandbox.links) == []

        async def test_loop(belvo_sandbox):
            with pytest.raises(RuntimeError, match="to_thread"):
                belvo_sandbox.settle()
            assert await asyncio.to_thread(belvo_sandbox.settle) == 0

        def test_assertion(belvo_sandbox):
            belvo_sandbox.assert_token_sent_once()
        """,
        settings=ASYNC_SETTINGS,
    )
    assert run.counts(passed=4, failed=1), run.out
    assert "no request brought a token" in run.out
    assert "concurrent" not in run.out, "the traceback shows the way through the other thread"


def test_webhooks_reach_a_receiver_in_the_loop_of_the_test(project: Project) -> None:
    """The simulator's own loop delivers them, while the test's loop goes on."""
    run = project.run(
        """
        async def test_webhooks(belvo_sandbox):
            heard = []

            async def receive(reader, writer):
                head = await reader.readuntil(b"\\r\\n\\r\\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                heard.append(json.loads(await reader.readexactly(length))["webhook_code"])
                writer.write(b"HTTP/1.1 204 Heard\\r\\nConnection: close\\r\\n\\r\\n")
                writer.close()
                await writer.wait_closed()

            async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                belvo_sandbox.deliver_webhooks_to(f"http://127.0.0.1:{port}/")
                await register(belvo_sandbox, "sim_lapse_invalid", "secret_word")
                belvo_sandbox.advance(days=8)
                await asyncio.to_thread(belvo_sandbox.settle)
                assert heard[-1] == "invalid_credentials"
                assert all(webhook.arrived for webhook in belvo_sandbox.webhooks)
        """,
        settings=ASYNC_SETTINGS,
    )
    assert run.counts(passed=1), run.out


def test_a_run_that_does_not_use_the_plugin_loads_nothing_for_it(project: Project) -> None:
    """Neither the HTTP library nor anything else that takes time: but for pytest, the plugin needs two modules."""
    run = project.run(
        """
        import sys

        def test_modules():
            heavy = {"aiohttp", "attr", "attrs", "cattrs", "msgspec", "pytest_asyncio"}
            assert heavy.isdisjoint(sys.modules)
            ours = {name for name in sys.modules if name.startswith("belvo_links")}
            assert ours == {
                "belvo_links", "belvo_links.version", "belvo_links.sandbox", "belvo_links.sandbox.plugin"
            }
        """,
        client=False,
    )
    assert run.counts(passed=1), run.out


def test_markers_and_fixture_are_explained_by_pytest_itself(project: Project) -> None:
    """`pytest --markers` and `pytest --fixtures` list them; `-p no:belvo_links` turns all of it off."""
    tests = "def test_it(belvo_sandbox):\n    pass\n"
    assert "@pytest.mark.belvo_allow_leaks:" in project.run(tests, "--markers", client=False).out
    assert "belvo_sandbox --" in project.run(tests, "--fixtures", client=False).out
    off = project.run(tests, "-p", "no:belvo_links", client=False)
    assert "fixture 'belvo_sandbox' not found" in off.out


def test_the_example_of_the_documentation_passes(project: Project) -> None:
    """As it stands there, in a project without any settings but those that pytest-asyncio wants."""
    document = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    run = project.run("".join(blocks), settings=ASYNC_SETTINGS.replace("auto", "strict"), client=False)
    assert run.counts(passed=2), run.out


def test_a_test_with_a_simulator_takes_some_milliseconds(project: Project) -> None:
    """About 10 ms are promised; the bound here is generous, since the machine may be busy."""
    number = 100
    run = project.run(
        f"""
        import time

        @pytest.fixture(scope="module", autouse=True)
        def clock():
            began = time.perf_counter()
            yield
            print(f"each took {{(time.perf_counter() - began) / {number} * 1000:.2f}} ms")

        @pytest.mark.parametrize("number", range({number}))
        def test_reads(belvo_sandbox, number):
            assert read(belvo_sandbox) == 200
        """,
        "-s",
    )
    assert run.counts(passed=number), run.out
    took = re.search(r"each took ([\d.]+) ms", run.out)
    assert took
    print(f"a test with a simulator and a request: {took[1]} ms")  # noqa: T201 - for who looks
    assert float(took[1]) < 100

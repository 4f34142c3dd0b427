"""What people meet at a wrong address, or at a Dify of which one part is down: each with its exit status and its words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from bulkdel.simulator import DifySimulator, Faults
from tests.cli.service import Beside, Ended, together, with_dify
from tests.cli.test_end_to_end import account

DATASET = "11111111-1111-4111-8111-111111111111"


def at(handler: Callable[[web.Request], web.Response], path: str, *argv: str) -> Ended:
    """The command at a server of which ``handler`` answers everything."""
    ended: list[Ended] = []

    async def main() -> None:
        async def handle(request: web.Request) -> web.Response:
            return handler(request)

        server = web.Application()
        server.router.add_route("*", "/{rest:.*}", handle)
        runner = web.AppRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        simulator = DifySimulator(documents=0)
        address = f"http://{host}:{port}{path}"
        services = {"DIFY_BASE_URL": address, "LANGDOCK_BASE_URL": address, "LANGDOCK_API_KEY": "langdock-key"}
        beside = Beside(simulator, "dify", services)
        ended.append(await beside.run(*argv))
        await runner.cleanup()

    together(main())
    return ended[0]


def test_a_key_that_the_console_refuses_hints_at_the_address() -> None:
    """$ bulkdel datasets dify, at /console/api: "Invalid token" is about another key than the one that is asked for."""
    ended = at(
        lambda request: web.json_response({"code": "unauthorized", "message": "Invalid token"}, status=401),
        "/console/api", "datasets", "dify",
    )  # fmt: skip
    assert ended.status == 4
    assert ended.stderr.count("Invalid token") == 1
    assert "hint: check the base URL: a self-hosted Dify's ends in /v1" in ended.stderr


def test_a_stand_in_is_no_dify_without_datasets() -> None:
    """$ bulkdel datasets dify, where something answers {"data": []}: what answered is said."""
    ended = at(lambda request: web.json_response({"data": []}), "/v1", "datasets", "dify")
    assert ended.status == 0
    assert "no dataset is shared with this key: dify at http://127.0.0.1:" in ended.stderr
    assert "the answer carries no X-Version, as every Dify's does" in ended.stderr


def test_a_stand_in_is_no_langdock_without_folders() -> None:
    """$ bulkdel datasets langdock, where something answers {"data": []}: Langdock's answers carry no mark, so they are shown."""
    ended = at(lambda request: web.json_response({"data": []}), "/api/public", "datasets", "langdock")
    assert ended.status == 0
    assert "no dataset is shared with this key: langdock at http://127.0.0.1:" in ended.stderr
    assert "share the knowledge base with a workspace key" in ended.stderr
    assert '/api/public a Langdock? It answered {"data": []}' in ended.stderr


def test_a_stand_in_is_no_langdock_without_that_folder() -> None:
    """$ bulkdel purge langdock ID, where something answers {"data": []}: what answered is said there, too."""
    argv = ("purge", "langdock", "folder-1", "-y")
    ended = at(lambda request: web.json_response({"data": []}), "/api/public", *argv)
    assert ended.status == 1
    assert "no knowledge base (folder) with this id is shared with this key" in ended.stderr
    assert '/api/public a Langdock? It answered {"data": []}' in ended.stderr


def test_documents_are_not_rejected_because_of_a_stand_in(tmp_path: Path) -> None:
    """$ bulkdel delete langdock FILE -y, where something answers {"data": []}: exit 4, the address is hinted at, and nothing is
    settled, so that the same run goes on at the right one."""
    (tmp_path / "targets.csv").write_text("dataset,document\nfolder-1,att_1\nfolder-1,att_2\n")
    argv = ("delete", "langdock", str(tmp_path / "targets.csv"), "-y", "--json")
    ended = at(lambda request: web.json_response({"data": []}), "/api/public", *argv)
    counts = account(ended)
    assert (ended.status, counts["rejected"], counts["not_attempted"]) == (4, 0, 2)
    assert "hint: check the base URL" in ended.stderr


def test_a_dify_without_its_plugin_daemon_is_purged() -> None:
    """$ bulkdel purge dify ID -y: the dataset cannot be asked, its documents can be listed, which proves as much."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        said = account(await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--json"))
        assert (said["status"], said["deleted"], said["remaining"]) == ("complete", 12, 0)
        assert simulator.remaining == 0

    with_dify(work, documents=12, faults=Faults(preflight="plugin-daemon"))


def test_a_proxy_that_is_down_is_what_the_hint_is_about() -> None:
    """$ bulkdel datasets dify, with HTTP_PROXY at a port that nothing listens at."""
    services = {"DIFY_BASE_URL": "http://192.0.2.1/v1", "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
    ended: list[Ended] = []

    async def main() -> None:
        ended.append(await Beside(DifySimulator(documents=0), "dify", services).run("datasets", "dify"))

    together(main())
    assert ended[0].status == 4
    assert "the proxy 127.0.0.1:1: Connection refused" in ended[0].stderr
    assert "hint: is the proxy right? HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name it" in ended[0].stderr


def test_a_proxy_that_strips_the_version_changes_nothing() -> None:
    """$ bulkdel purge dify ID -y --unarchive, behind it from the first answer or from the fifth."""

    def behind(strip: int) -> None:
        async def work(simulator: DifySimulator, beside: Beside) -> None:
            ended = await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--json", "--unarchive")
            assert account(ended)["status"] == "complete"
            assert simulator.remaining == 0

        with_dify(work, documents=12, faults=Faults(strip_version=strip, archived=1, lock_for=0.05))

    behind(1)
    behind(5)

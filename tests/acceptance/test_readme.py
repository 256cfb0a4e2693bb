"""The README contains what the other tests use, and its commands run on a clean copy."""

import base64
import html
import re
import shutil
import signal
import socket

import pytest

from tests.acceptance import readme
from tests.acceptance.helpers import ROOT, WAITING, Sample, normal

README = (ROOT / "README.md").read_text()
USED = {name: text for name, text in vars(readme).items() if name.isupper()}


@pytest.mark.parametrize("name", USED)
def test_readme_contains(name: str) -> None:
    texts = [USED[name]] if isinstance(USED[name], str) else USED[name]
    for text in texts:
        assert " ".join(text.split()) in " ".join(README.split())


def test_excerpt_is_part_of_the_workflow() -> None:
    excerpt = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)[0]
    assert excerpt in (ROOT / "workflow.py").read_text()


def test_animation_shows_what_the_programs_print() -> None:
    animation = (ROOT / ".github" / "worker-crash.svg").read_text()
    texts = re.findall(r'<text[^>]* textLength="(\d+)"[^>]*>([^<]*)</text>', animation)
    assert len(texts) == animation.count("<text")
    shown = [html.unescape(text) for _, text in texts]
    assert [int(length) for length, _ in texts] == [8 * len(text) for text in shown]
    for output in (readme.WORKER_STARTED, readme.STARTED, readme.FULFILLED, readme.LOG):
        assert set(normal(output)) <= set(normal("\n".join(shown)))


async def test_commands_print_what_the_readme_shows(own_server: Sample) -> None:
    with socket.socket() as default:
        if default.connect_ex(("localhost", 7233)) == 0:
            pytest.skip("the default port is in use")
    del own_server.environment["TEMPORAL_ADDRESS"]
    ignore = shutil.ignore_patterns(".venv", ".git", "*_cache", "__pycache__")
    shutil.copytree(ROOT, own_server.folder, ignore=ignore, dirs_exist_ok=True)

    await own_server.run("uv sync")
    commands = readme.SERVER, readme.WORKER, readme.STARTER
    server, worker, starter = [await own_server.shell(command) for command in commands]
    workflow_id = (await starter.prints(r"Started workflow (\S+)\n"))[1]
    await worker.prints(WAITING)
    assert await own_server.run(readme.APPROVE, workflow_id) == readme.APPROVED
    assert await starter.exits() == 0
    assert readme.SERVER_STARTED in server.stdout
    assert worker.stdout == readme.WORKER_STARTED
    assert normal(worker.stderr) == normal(readme.LOG)
    assert normal(starter.stdout) == normal(readme.STARTED + readme.FULFILLED)
    assert "fulfilled" in await own_server.run(readme.RESULT, workflow_id)
    await own_server.run(readme.SAVE, workflow_id)
    history = (own_server.folder / "tests/histories/NAME.json").read_text()
    assert base64.b64encode(b'"human approval"').decode() in history, "not in the Timeline"
    assert "1 passed" in await own_server.run(f"{readme.REPLAY} -k NAME")
    for program in own_server.programs:
        await program.stop(signal.SIGINT)

    one = await own_server.shell(f"set -m\n{readme.ONE_TERMINAL}{readme.STOP_BOTH}\nwait")
    workflow_id = (await one.prints(r"Started workflow (\S+)\n"))[1]
    await one.prints(WAITING)
    await own_server.run(readme.APPROVE, workflow_id)
    await one.prints("fulfilled")
    await one.exits()

"""What the README promises: its commands, the edits of its scenarios, and what is then shown."""

import re

from tests.acceptance.support import ORDER_ID, ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.M | re.S)
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
KILL = "kill -9 %%\n"
SHOWN = re.compile(r"^```text\n(.*?)^```$", re.M | re.S)


def section(scenario: str) -> str:
    """Return what the README says of a scenario."""
    found = re.search(rf"^### {scenario}\n(.*?)(?=^##)", README, re.M | re.S)
    assert found, f"the README has no scenario {scenario!r}"
    return found[1]


def edit_of(scenario: str) -> tuple[str, str, str]:
    """Return the edit that the README names for a scenario: module, text before, text after."""
    text = section(scenario)
    uncomment = re.search(r"in\s`(\w+\.py)` uncomment `# (.+)`", text)
    if uncomment:
        return uncomment[1], f"# {uncomment[2]}\n", f"{uncomment[2]}\n"
    change = re.search(r"in\s`(\w+\.py)` change `(.+)` to `(.+)`", text)
    assert change, f"the README names no edit for {scenario!r}"
    return change[1], change[2], change[3]


def promised(scenario: str) -> list[str]:
    """Return the lines that the README shows for a scenario."""
    return normal("".join(SHOWN.findall(section(scenario))))


def normal(text: str) -> list[str]:
    """Return lines without what differs from run to run."""
    text = re.sub(ORDER_ID, "ORDER", text)
    text = re.sub(r"(localhost|127\.0\.0\.1):\d+, namespace [\w-]+", "ADDRESS", text)
    text = re.sub(r"http://(localhost|127\.0\.0\.1):\d+/namespaces/[\w-]+", "WEB-UI", text)
    text = re.sub(r" --address \S+ --namespace \S+", "", text)  # where they are not the usual ones
    text = re.sub(r", run [0-9a-f-]{36}", ", run RUN", text)
    return re.sub(r"\d\d:\d\d:\d\d", "TIME", text).splitlines()

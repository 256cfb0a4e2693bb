"""No process is left over, however the tests end: with a failure, Ctrl-C, or ``kill -9``."""

import subprocess
from pathlib import Path
from typing import IO

# At the end of its input, which comes with our end at the latest, it kills what it has read of.
REAP = 'while read -r group; do groups="$groups -$group"; done; kill -9 $groups'
REGISTER = 'echo $$; exec "$@" >"$0"'


class Reaper:
    """Kills programs, with all that they started, when it is told to or when this process ends.

    It is a shell at the other end of a pipe. Each program is started with ``command()``, ``pipe``
    as its standard output and ``start_new_session=True``: before anything else, it writes the
    number of its process group into the pipe.
    """

    def __init__(self) -> None:
        """Start the shell, in a session of its own so that no Ctrl-C reaches it."""
        self._shell = subprocess.Popen(
            ["sh", "-c", REAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._shell.stdin
        self.pipe: IO[bytes] = self._shell.stdin

    def command(self, stdout: Path, *command: str) -> list[str]:
        """Return the command that registers itself, then runs another with its output in a file."""
        return ["sh", "-c", REGISTER, str(stdout), *command]

    def reap(self) -> None:
        """Kill everything that is registered."""
        self.pipe.close()
        self._shell.wait()

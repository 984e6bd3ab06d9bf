"""Run by tests: forks a process for each line `start DIE_AT NAME`, which pulls NAME; `wait PID` prints its end."""

from __future__ import annotations

import os
import signal
import sys

from pocketllama.errors import PocketllamaError
from pocketllama.models import disk, download


def main() -> None:
    for line in sys.stdin:
        verb, first, *rest = line.split()
        if verb == "wait":
            _, status = os.waitpid(int(first), 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            os._exit(child(rest[0], int(first)))


def child(name: str, die_at: int) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if die_at:
        kill_at(die_at)
    try:
        download.pull(name, None, None)
    except PocketllamaError as error:
        print(error.describe(), file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


def kill_at(count: int) -> None:
    """SIGKILL to this process in place of its `count`-th change of the disk."""
    left = count

    def dying(real):  # type: ignore[no-untyped-def]
        def call(*args):  # type: ignore[no-untyped-def]
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return call

    for name in ("open_part", "write", "fsync", "replace", "make_folder"):
        setattr(disk, name, dying(getattr(disk, name)))


if __name__ == "__main__":
    main()

"""`python -m pocketllama`, and what its exit code says."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (`sys.argv` by default); the exit code is returned. docs/cli.md lists the codes."""
    from . import output, parent

    parent.watch()  # before any descriptor of ours could be taken for the one that it was told of
    output.claim()  # before any import that might print
    from .errors import PocketllamaError

    try:
        from .cli import execute

        execute(sys.argv[1:] if argv is None else argv)
        return 0
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else int(e.code is not None)
    except PocketllamaError as e:
        print(f"pocketllama: {e.describe()}", file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the answer has seen enough; the streams must not complain at exit about the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.protocol_fd())
        return 141


if __name__ == "__main__":
    sys.exit(main())

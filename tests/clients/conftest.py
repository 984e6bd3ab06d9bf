"""The server for other people's programs: started as in tests/py/serve."""

from tests.py.serve.conftest import server, settled

__all__ = ["server", "settled"]

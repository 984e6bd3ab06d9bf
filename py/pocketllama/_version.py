"""The one version of the Python package, the npm package and the server; a test holds the three together."""

__version__ = "0.1.0"

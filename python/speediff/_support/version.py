"""The version of the package, which `pyproject.toml` has as well."""

__version__ = "0.1.0"

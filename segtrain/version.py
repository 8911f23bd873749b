"""The version of segtrain; pyproject.toml reads it from here."""

__version__ = "0.1.0"

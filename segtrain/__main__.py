"""``python -m segtrain``."""

from segtrain.cli import entry_point

if __name__ == "__main__":
    entry_point()

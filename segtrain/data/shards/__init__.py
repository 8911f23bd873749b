"""Data sets in tar files, a shard each: where they lie, what is in them, and how they are written."""

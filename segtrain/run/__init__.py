"""A run's folder: its checkpoints, its logs, its lock."""

"""The folder of a run: plan, lock, checkpoints, logs and profiles."""

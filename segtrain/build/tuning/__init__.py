"""Settings that make a training quick on a machine: what can be set, how it is measured, and which are chosen."""

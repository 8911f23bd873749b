"""Building objects from a config: the parts of a run, a whole training, a trained model."""

"""From a checked config to objects: the parts of a run, a whole training, a trained model."""

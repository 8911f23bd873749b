"""Pictures of samples, masks and plots of scores."""

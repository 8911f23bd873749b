"""Pictures for people: samples with truth and prediction, plots, lettering."""

"""Scores of a model or of mask files: measuring, reports, comparisons."""

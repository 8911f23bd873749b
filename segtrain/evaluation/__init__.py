"""Evaluation of models and mask files: measures, reports, comparisons."""

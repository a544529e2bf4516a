"""Confidence intervals, significance tests and resampling, for the scores of a study."""

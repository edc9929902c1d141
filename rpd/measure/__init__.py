"""Measuring: every job for a minute on cheap cards, and a forecast from its steps a second."""

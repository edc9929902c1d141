"""Measuring: runs every job for a minute on cheap GPUs, and forecasts its cost from its steps per second."""

"""Compression of the forecaster: units, runtimes, and the counts of what changed."""

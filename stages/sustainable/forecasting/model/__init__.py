"""The GRU forecaster, its training, the frugal forecasters beside it, and scores."""

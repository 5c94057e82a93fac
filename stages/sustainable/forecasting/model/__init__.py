"""The GRU forecaster and its training, the frugal reference forecasters, and scores."""

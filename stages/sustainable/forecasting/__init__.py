"""Study A: the GRU weather forecaster, its compression, and the search for it."""

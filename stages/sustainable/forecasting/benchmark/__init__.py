"""What study A measures: subjects, candidates, the published runs and the randomised blocks."""

"""Measurements of study A: subjects, candidates, the published runs and the randomised blocks."""

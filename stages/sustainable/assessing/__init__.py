"""Measure a model of your own with the protocol of this project: see `assessment.assess`."""

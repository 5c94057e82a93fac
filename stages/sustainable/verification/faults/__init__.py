"""Faults that are injected into real stages: after each, the repeated command must give the same results."""

"""Measurement: windows in randomised blocks, process settings, the host, and the columns of a row."""

"""Checks of a reproduction against the shipped run, and what such a check may rest on."""

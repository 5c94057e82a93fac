"""Command-line tools that are not pipeline stages: `python -m sustainable.tools.NAME`."""

"""The command line of a stage."""

import argparse
from pathlib import Path


def stage_arguments(description: str | None, paths: str, text: str = "") -> argparse.Namespace:
    """Parse required options: `paths` names those for files and folders, `text` those for strings.

    Both are names separated by spaces: `stage_arguments(__doc__, "params csv", text="protocol")`.
    """
    parser = argparse.ArgumentParser(description=description)
    for name in text.split():
        parser.add_argument(f"--{name}", required=True)
    for name in paths.split():
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()

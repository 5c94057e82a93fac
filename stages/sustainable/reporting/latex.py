"""Compile the paper if TeX is installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sustainable.core.files import write_bytes

NO_TEX = "paper.pdf not built: pdflatex is not installed; tables, figures and report.html are complete"
REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}


def compile_paper(folder: Path, references: Path) -> str:
    """Compile `folder`/paper.tex to paper.pdf in a temporary folder, and return a message to print.

    Missing TeX packages are a property of the host, not a failure of the stage. An old paper.pdf is always
    removed: it must never accompany newer tables.
    """
    (folder / "paper.pdf").unlink(missing_ok=True)
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        return NO_TEX
    environment = os.environ | REPRODUCIBLE
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("tables", "figures"):
            shutil.copytree(folder / name, Path(scratch) / name)
        shutil.copy(folder / "paper.tex", scratch)
        shutil.copy(references, Path(scratch) / "references.bib")
        for command in (latex, ["bibtex", "paper"], latex, latex):
            done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, check=False)
            if done.returncode != 0:
                lines = done.stdout.decode(errors="replace").splitlines()
                problem = next((line for line in lines if line.startswith("!")), "failed")
                return f"paper.pdf not built: {command[0]}: {problem}"
        write_bytes(folder / "paper.pdf", (Path(scratch) / "paper.pdf").read_bytes())
    return f"{folder / 'paper.pdf'} built"


def tex_version() -> str | None:
    """Return the version line of pdflatex, or None if it is not installed.

    Another version of TeX writes other bytes.
    """
    if shutil.which("pdflatex") is None:
        return None
    done = subprocess.run(["pdflatex", "--version"], capture_output=True, text=True, check=False)
    return next(iter(done.stdout.splitlines()), None)

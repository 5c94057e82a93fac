"""Compile the paper if TeX is installed."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from sustainable.core.files import write_bytes

NO_TEX = "paper.pdf not built: pdflatex is not installed; tables, figures and report.html are complete"
OVERFULL = re.compile(r"Overfull \\[hv]box \(([\d.]+)pt too ")
LOST = re.compile(r"(Reference|Citation|Label) .* (undefined|multiply defined)")
LIMIT_S = 300
CONFINED = {"openin_any": "p", "openout_any": "p", "shell_escape": "f"}
"""TeX reads and writes no file outside its folder and its own trees, and runs no command."""
REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}


def compile_paper(folder: Path, references: Path) -> str:
    """Compile `folder`/paper.tex to paper.pdf in a temporary folder, and return a message to print.

    Missing TeX packages are a property of the host, not a failure of the stage. An old paper.pdf is always
    removed: it must never accompany newer tables.
    """
    (folder / "paper.pdf").unlink(missing_ok=True)
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        return NO_TEX
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if problem := typeset(folder, references, scratch):
            return f"paper.pdf not built: {problem}"
        write_bytes(folder / "paper.pdf", (scratch / "paper.pdf").read_bytes())
        blemishes = blemishes_of((scratch / "paper.log").read_text(encoding="utf-8", errors="replace"))
    return f"{folder / 'paper.pdf'} built" + (f", but: {'; '.join(blemishes)}" if blemishes else "")


def typeset(folder: Path, references: Path, scratch: Path) -> str | None:
    """Run TeX in the folder `scratch` on the paper in `folder`; return what went wrong, or None."""
    for name in ("tables", "figures"):
        shutil.copytree(folder / name, scratch / name)
    shutil.copy(folder / "paper.tex", scratch)
    shutil.copy(references, scratch / "references.bib")
    latex = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for command in (latex, ["bibtex", "paper"], latex, latex, latex):
        environment = os.environ | REPRODUCIBLE | CONFINED
        try:
            done = subprocess.run(
                command, cwd=scratch, env=environment, capture_output=True, check=False, timeout=LIMIT_S,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{command[0]}: not done after {LIMIT_S} s"
        if done.returncode != 0:
            lines = done.stdout.decode(errors="replace").splitlines()
            problem = next((line for line in lines if line.startswith("!")), "failed")
            return f"{command[0]}: {problem}"
    return None


def blemishes_of(log: str) -> list[str]:
    """List what a reader of the PDF would see: text that leaves its column, and references to nothing."""
    wide = [line for line in log.splitlines() if (found := OVERFULL.match(line)) and float(found[1]) > 5]
    lost = [line for line in log.splitlines() if LOST.search(line)]
    return [*wide, *lost]


def tex_version() -> str | None:
    """Return the version line of pdflatex, or None if it is not installed.

    Another version of TeX writes other bytes.
    """
    if shutil.which("pdflatex") is None:
        return None
    done = subprocess.run(["pdflatex", "--version"], capture_output=True, text=True, check=False)
    return next(iter(done.stdout.splitlines()), None)

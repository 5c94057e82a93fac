"""Every file of the project against `data/SHA256SUMS`, the list of their hashes.

This file is also the script behind `make verify`:

    python -I -B stages/sustainable/verification/listed.py

So it imports the standard library alone, and compares the code with the list before any of it runs. `-I`
keeps the current folder, PYTHONPATH and the user's own packages off the path. `ProjectFinder` then serves the
package `sustainable`, and nothing else of the project, from source files. A module that lies in the way, such
as stages/yaml.py or a compiled errors.so, is never imported.
"""

import hashlib
import os
import re
import runpy
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

LIST = "data/SHA256SUMS"
"""Lists every file but itself, as `sha256sum` prints them, sorted by path: equal files, equal list."""
GIT = ".git"
IGNORING = (".gitignore", ".dvc/.gitignore")
"""These name what a user's own runs leave here. Both are listed themselves."""
LINE = re.compile(r"([0-9a-f]{64})  ([\w.][^\\\x00-\x1f\x7f]*)")
LARGEST = 2**28
"""Bytes. The largest file of the project has about 4 MB; a larger one is reported, and not read."""
CODE = "stages/"
START = "stages/sustainable/verification/listed.py"
NOT_RUN = "no code of the project was run; restore these files from git, or remove them"


class ListError(ValueError):
    """`SHA256SUMS` is missing, or not what `sha256sum` would print for the files of a project."""


def read_list(path: Path) -> dict[str, str]:
    """Read SHA-256 by path; raises `ListError` for a line that is malformed, repeated or out of order."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path.name}: cannot be read ({error}); restore it from git") from None
    digests: dict[str, str] = {}
    last = ""
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        match = LINE.fullmatch(line)
        if match is None or ".." in match[2].split("/"):
            raise ListError(f"{path.name}:{number}: no hash and path of the project; restore it from git")
        if match[2] <= last:
            problem = "repeated, or out of order; restore the list from git"
            raise ListError(f"{path.name}:{number}: {shown(match[2])}: {problem}")
        last = match[2]
        digests[last] = match[1]
    if not text.endswith("\n"):
        raise ListError(f"{path.name}: its end is missing; restore it from git")
    return digests


def root_hash(root: Path) -> str:
    """The SHA-256 of the list, which stands for the whole project: `sha256sum data/SHA256SUMS`."""
    return hashlib.sha256((root / LIST).read_bytes()).hexdigest()


def list_of(root: Path) -> str:
    """The list of the files in `root` as they are now; raises `ListError` if one is no regular file."""
    files = scan(root)
    for path, found in files.items():
        if len(found) != 64:
            raise ListError(f"{shown(path)}: {found}; a project holds regular files only")
    return "".join(f"{digest}  {path}\n" for path, digest in files.items())


def compare(root: Path) -> dict[str, str]:
    """What is wrong with each file that differs from the list, by path. A file that is not listed counts too:
    at the top, and anywhere in a folder at the top that holds listed files. Raises `ListError`."""
    listed = read_list(root / LIST)
    found = scan(root, {path.split("/")[0] for path in listed})
    return {
        path: _difference(listed.get(path), found.get(path))
        for path in sorted(listed.keys() | found)
        if listed.get(path) != found.get(path)
    }


def _difference(listed: str | None, found: str | None) -> str:
    if found is None:
        return "is missing"
    what = "" if len(found) == 64 else f" ({found})"
    return f"is not listed{what}" if listed is None else f"has changed{what}"


def scan(root: Path, folders: Collection[str] | None = None) -> dict[str, str]:
    """The SHA-256 of every file by path, in order; instead of the hash, what it is if it is no regular file.

    Skipped are the list, git's folder, what `IGNORING` names, and top-level folders other than `folders`.
    """
    patterns = [pattern for name in IGNORING for pattern in _patterns(root, name)]
    found: dict[str, str] = {}
    for folder, names, files in os.walk(root):
        inside = "" if folder == str(root) else f"{Path(folder).relative_to(root).as_posix()}/"
        links = [name for name in names if Path(folder, name).is_symlink()]
        for name in [*files, *links]:
            path = inside + name
            if path not in (LIST, GIT) and not _ignored(path, patterns, name in links):
                found[path] = _digest_or_kind(Path(folder, name))
        names[:] = [
            name
            for name in names
            if name not in links
            and not _ignored(inside + name, patterns, True)
            and (inside or (name != GIT and (folders is None or name in folders)))
        ]
    return dict(sorted(found.items()))


def _patterns(root: Path, name: str) -> Iterator[str]:
    """The patterns of an ignore file; those of one folder, or with a slash, begin with a slash."""
    path = root / name
    base = name.rpartition("/")[0]
    for line in path.read_text(encoding="utf-8").split() if path.is_file() else []:
        anchored = base or "/" in line.rstrip("/")
        yield f"/{base}/{line.lstrip('/')}".replace("//", "/") if anchored else line


def _ignored(path: str, patterns: Sequence[str], folder: bool) -> bool:
    name = path.rpartition("/")[2]
    return any(
        fnmatchcase(f"/{path}" if pattern.startswith("/") else name, pattern.rstrip("/"))
        for pattern in patterns
        if folder or not pattern.endswith("/")
    )


def _digest_or_kind(path: Path) -> str:
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST:
            return digest(str(path), status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISREG(status.st_mode):
        return f"{status.st_size} bytes"
    return "a link" if stat.S_ISLNK(status.st_mode) else "neither file nor folder"


@lru_cache(maxsize=8192)
def digest(path: str, changed: int, size: int, inode: int) -> str:
    """The SHA-256 of a file, computed once for a time of change (in ns), size and inode."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown(path: str) -> str:
    """A path as it may reach a terminal: printable ASCII."""
    return path.encode("unicode_escape", "surrogatepass").decode("ascii")


def in_development(root: Path) -> bool:
    """Whether CITATION.cff names a development version, in which listed files may have changed."""
    versions = re.findall(r"(?m)^version:(.*)$", (root / "CITATION.cff").read_text(encoding="utf-8"))
    return len(versions) == 1 and versions[0].strip().endswith(".dev")


class SourceOnly(SourceFileLoader):
    """Loads source alone: it neither reads nor writes compiled files."""

    def path_stats(self, path: str) -> dict[str, float]:
        raise OSError(f"{path}: compiled files are not looked for")


class ProjectFinder:
    """Finds the package `sustainable` in `stages`; every other module comes from the usual places."""

    def __init__(self, stages: Path) -> None:
        self.stages = str(stages)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "sustainable":
            return None
        return FileFinder(path[0] if path else self.stages, (SourceOnly, [".py"])).find_spec(name)


def main() -> None:
    """Compare all files with the list, then run `sustainable.tools.verify`.

    Nothing is run if a file is no regular file, which could keep a reader waiting, or if code differs at a
    release.
    """
    if not sys.flags.isolated:
        sys.exit("verify: run it isolated: `make verify`, or `python -I -B` and the path of this file")
    root = Path(__file__).resolve().parents[3]
    try:
        strict = "--strict" in sys.argv or not in_development(root)
        stopping = [
            f"FAIL      T0  {shown(path)} {what}"
            for path, what in compare(root).items()
            if what.endswith(")") or (strict and path.startswith(CODE))
        ]
    except (ListError, OSError) as error:
        sys.exit(f"verify: {error}")
    if stopping:
        sys.exit("\n".join([*stopping, f"verify: {NOT_RUN}"]))
    sys.meta_path.insert(0, ProjectFinder(root / "stages"))
    runpy.run_module("sustainable.tools.verify", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

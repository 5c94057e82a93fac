"""Checks of the two files that describe the shipped run to other tools."""

from collections.abc import Iterator

from sustainable.core.files import read_json
from sustainable.verification.export.witness import CRATE, UNPINNED, WITNESS, repro_document
from sustainable.verification.items import HERE, Item, compared, none_wrong
from sustainable.verification.lock import read_yaml
from sustainable.verification.place import SUMS, Place


def check_crate(place: Place) -> Iterator[Item]:
    """Check that the RO-Crate gives every shipped file the hash that `SHA256SUMS` gives it."""
    listed = {name: digest for name, digest in place.sums.items() if name != CRATE}
    graph = read_json(place.reference / CRATE).get("@graph", [])
    own = {entry["@id"]: entry["sha256"] for entry in graph if "sha256" in entry}
    wrong = [name for name in sorted({*own, *listed}) if own.get(name) != listed.get(name)]
    wrong, expected = [f"another hash of {name}" for name in wrong], f"{len(listed)} hashes as in {SUMS}"
    yield none_wrong("T0", f"{CRATE} agrees with {SUMS}", "shipped", expected, wrong)


def check_repro(place: Place) -> Iterator[Item]:
    """Check that repro.yaml has the hashes of `SHA256SUMS`, and says what claims, metrics and rows say."""
    written, computed = read_yaml(place.reference / WITNESS), repro_document(place.reference)
    listed = {name: digest for name, digest in place.sums.items() if name not in UNPINNED}
    pinned = {entry["path"]: entry["digest"]["value"] for entry in written.pop("artifacts")}
    del computed["artifacts"]
    wrong = [] if pinned == listed else ["other hashes"]
    wrong += [f"other {key}" for key in computed if written.get(key) != computed[key]]
    name, expected = f"{WITNESS} follows from the shipped files", "what the shipped files say"
    yield compared("T1", name, HERE, expected, wrong[0] if wrong else expected)

"""Reading which Debian servers a machine uses, to ask the same ones for source packages."""

import re
from pathlib import Path

from hack.cluster.errors import ClusterError


def source_entries(folder: Path, release: str) -> str:
    """A deb822 source list with binary and source packages of the release, as `folder` (/etc/apt) has it.

    Raises ClusterError when the machine has no such entry.
    """
    parts = folder / "sources.list.d"
    stanzas = [
        stanza
        for file in sorted(parts.glob("*.sources"))
        for stanza in re.split(r"\n\s*\n", file.read_text())
        if _is_of(_fields(stanza).get("suites", ""), release)
    ]
    lines = [
        line
        for file in [folder / "sources.list", *sorted(parts.glob("*.list"))]
        if file.exists()
        for line in file.read_text().splitlines()
    ]
    entries = [_with_sources(stanza) for stanza in stanzas]
    entries += [stanza for line in lines if (stanza := from_one_line(line, release))]
    if not entries:
        raise ClusterError(
            f"{folder} names no server of Debian {release}: add one, or set KUBEBUILDER_ASSETS"
        )
    return "\n".join(entries)


def from_one_line(line: str, release: str) -> str:
    """A `deb [options] server suite components` line as a stanza; empty if it is something else."""
    found = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(\S.*)", line.strip())
    if not found or not _is_of(found[3], release):
        return ""
    signed = re.search(r"signed-by=(\S+)", found[1] or "")
    fields = {"Types": "deb deb-src", "URIs": found[2], "Suites": found[3], "Components": found[4].strip()}
    if signed:
        fields["Signed-By"] = signed[1]
    return "".join(f"{key}: {value}\n" for key, value in fields.items())


def _is_of(suites: str, release: str) -> bool:
    return any(suite == release or suite.startswith(f"{release}-") for suite in suites.split())


def _fields(stanza: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in stanza.splitlines() if ":" in line and line[:1] not in "# \t")
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _with_sources(stanza: str) -> str:
    lines = [line for line in stanza.splitlines() if not line.startswith("#") and line.strip()]
    return "".join(
        "Types: deb deb-src\n" if line.lower().startswith("types:") else f"{line}\n" for line in lines
    )

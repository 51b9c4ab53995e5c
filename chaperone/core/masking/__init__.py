"""Masking: no secret leaves in an answer, and what stands in its place can be written back.

By kind and path first, by form second, by known value third. Pure: keys, detectors and known values are arguments.
"""

from chaperone.core.masking.detection import Detector, Known, KnownSpan, Span
from chaperone.core.masking.masker import Collect, Echo, Masker, UnmaskableError
from chaperone.core.masking.place import NOWHERE, Path, Place, SecretPlace
from chaperone.core.masking.placeholder import MARKER, Mint, find, is_placeholder
from chaperone.core.masking.report import Report
from chaperone.core.masking.terms import STANDARD, Profile, Terms, combine

__all__ = [
    "MARKER",
    "NOWHERE",
    "STANDARD",
    "Collect",
    "Detector",
    "Echo",
    "Known",
    "KnownSpan",
    "Masker",
    "Mint",
    "Path",
    "Place",
    "Profile",
    "Report",
    "SecretPlace",
    "Span",
    "Terms",
    "UnmaskableError",
    "combine",
    "find",
    "is_placeholder",
]

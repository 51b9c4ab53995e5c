"""The risk catalogue: 64 operations, each a named check with its reason. Rows keep their ids (R01 to R64) for ever.

`assess` evaluates every row; a row matches when its verbs, group, resource, place and condition all match. A condition
that cannot be evaluated counts as matched and is marked undetermined.
"""

from __future__ import annotations

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Request
from chaperone.core.verdict import Risk


def assess(request: Request, settings: RiskSettings) -> Risk:
    """All matched rows of the catalogue for one request, in the order of their ids."""
    raise NotImplementedError


def needs_object(request: Request) -> bool:
    """Does any row that may match this request read the resulting object (from the body)?"""
    raise NotImplementedError


def needs_live(request: Request) -> bool:
    """Does any row that may match this request compare with the live object (or need the outcome of a patch)?"""
    raise NotImplementedError

"""`.ci/lowest.txt` holds the lowest versions that we allow: the suite can be run with them."""

from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def bounds(requirements, operator):
    """Return the version behind the operator in each requirement, by its name, as far as its second number."""
    found = {}
    for requirement in map(Requirement, requirements):
        (version,) = (bound.version for bound in requirement.specifier if bound.operator == operator)
        found[requirement.name] = (*Version(version).release, 0)[:2]
    return found


def test_every_bound_below_is_the_version_that_is_tried():
    allowed = [text for text in requires("segtrain") if "extra ==" not in text]
    tried = [line for line in (ROOT / ".ci/lowest.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(tried) > 15
    assert bounds(tried, "==") == bounds(allowed, ">=")

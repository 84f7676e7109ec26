"""What a script of this folder says of its checks: the first that fails ends it, the last line counts them."""

import sys

_passed = 0


def equal(what, found, expected):
    """Ends the script where a value is not the expected one."""
    global _passed
    if found != expected:
        sys.exit(f"{what}: {found!r}, not {expected!r}")
    _passed += 1


def finish():
    """Says how many checks there were."""
    print(f"{_passed} checks passed")

"""How the guards take what they find: strict, warn or off."""

import enum
import logging
import os


class Policy(enum.Enum):
    """What becomes of a mistake that a guard has found."""

    STRICT = "strict"
    """It is raised: the attempt fails. In a test, turn retries off."""
    WARN = "warn"
    """It is logged, and the code goes on."""
    OFF = "off"
    """Nothing: the guards look away."""


def chosen() -> Policy:
    """The policy that the environment names.

    `RESTATE_GUARDS` is `strict`, `warn` or `off`. Without it: strict where `CI` is set, else warn.

    Raises:
        ValueError: `RESTATE_GUARDS` is something else.
    """
    default = "strict" if os.environ.get("CI") else "warn"
    return Policy(os.environ.get("RESTATE_GUARDS", default))


POLICY = chosen()
"""Read once, when the worker starts: a handler must not see it change between two attempts."""

log = logging.getLogger("restate.guards")


def found(mistake: Exception) -> None:
    """What a guard calls with a mistake that it has found.

    Args:
        mistake: its message says what to do instead.

    Raises:
        Exception: the mistake itself, under the policy strict.
    """
    if POLICY is Policy.STRICT:
        raise mistake
    if POLICY is Policy.WARN:
        log.warning("%s", mistake)

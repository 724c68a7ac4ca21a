"""A key from the business event, so that a retry is known as one."""

import re
from collections.abc import Collection
from urllib.parse import quote

import policy

SECONDS = re.compile(r"1[6-9]\d{8}(\.\d+|\d{3}|\d{6}|\d{9})?")
"""A time since 1970, from September 2020 to 2033: in seconds, milli-, micro- or nanoseconds."""
CALENDAR = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d.*")
RANDOM = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[1467][0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}"
)
"""A UUID that is drawn anew each time: version 1, 4, 6 or 7. Version 5 is made of a name."""


class UnstableKey(ValueError):
    """A key holds what will be another one in the retry."""


def idempotency_key(
    event: str, /, *, known: Collection[str] = (), **fields: str | int
) -> str:
    """The key of one business event: the same whenever the same is asked for, and no other's.

        idempotency_key("charge", order="order-7", part=1)  # charge:order=order-7:part=1

    Args:
        event: what is done once.
        known: names of fields that look like a time or like chance and are neither: the number
            of an order, or its UUID, as it stands in your database.
        fields: what tells this event from others of its kind. A time within a longer text, such as
            `order-1764000000`, is taken: that is how many systems number their orders.

    Raises:
        UnstableKey: a field looks like a time or like chance, under the policy strict.
        ValueError: there is no field, or an empty one: the key would be shared. In a handler
            either is retried until the invocation is paused.
    """
    if not fields or any(value in (None, "") for value in fields.values()):
        raise ValueError(f"{event}: a key without fields would be the same for all.")
    stable = {known} if isinstance(known, str) else set(known)
    for name, value in fields.items():
        if name in stable:
            continue
        for pattern, what in (
            (SECONDS, "a time"),
            (CALENDAR, "a time"),
            (RANDOM, "chance"),
        ):
            if pattern.fullmatch(str(value).lower().replace("t", "T")):
                policy.found(
                    UnstableKey(
                        f"{event}: {name}={value!r} looks like {what}, and a retry would have "
                        f"another one. If it is stored with the event, say known=[{name!r}]."
                    )
                )
    quoted = {name: quote(str(fields[name]), safe="") for name in sorted(fields)}
    named = (f"{name}={value}" for name, value in quoted.items())
    return ":".join((quote(event, safe=""), *named))

"""What the lab raises: errors that say what to do next."""


class LabError(Exception):
    """The lab itself could not do its work; the message says what the reader can do about it."""


class SnippetError(LabError):
    """A snippet could not be served at all (it doesn't import, or has no `app`)."""

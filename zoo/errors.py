"""The one exception that a person's own mistake raises."""


class UserError(Exception):
    """A mistake in what the user gave (config, data, file, server). Its text is one line: the thing, and the cure."""

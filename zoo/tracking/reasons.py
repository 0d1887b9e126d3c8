"""Why a store cannot be used, in a few words: what MLflow, urllib3 and SQLAlchemy raise are dumps of many lines."""

import os
import re
import socket
from collections.abc import Iterator

from zoo.errors import UserError, masked

LONGEST = 150  # letters of a reason that is told in the store's own words
LOST = "it closed the connection without an answer"
_DATABASES = (  # what drivers say, in any of their own words
    (r"refused", "nothing answers there"),
    (r"(?i)authentication failed|access denied|login failed", "it refuses the user name or password"),
    (r"resolve|translate host name|not known|unknown.* host", "there is no such host"),
)
_ANSWERED = re.compile(r"failed with error code (\d{3})|too many (\d{3}) error responses")


class StoreError(UserError):
    """A store that cannot be used.

    Attributes:
        uri: its masked address.
        reason: in a few words.
    """

    def __init__(self, uri: str, reason: str, cure: str = ""):
        super().__init__(uri, reason, cure)
        self.uri, self.reason, self.cure = uri, reason, cure

    def __str__(self) -> str:
        return f"the tracking store {self.uri} cannot be used ({self.reason}){self.cure or '.'}"


def reason_of(error: BaseException) -> str:
    """Return a few words, with no password in them, on why a store did not do what it was asked to."""
    from requests.exceptions import SSLError, Timeout

    whole = list(_origins(error))
    for kinds, told in (
        ((Timeout, TimeoutError), f"no answer within {os.environ.get('MLFLOW_HTTP_REQUEST_TIMEOUT')} s"),
        ((socket.gaierror,), "there is no such host"),
        ((ConnectionRefusedError,), "nothing answers there"),
        ((SSLError,), "its certificate is not one to trust, or it does not speak https"),
        ((ConnectionError,), LOST),
    ):
        if any(isinstance(e, kinds) for e in whole):
            return told
    text = str(error)
    if "Invalid Host header" in text:
        return "it does not go by this name: start it with --allowed-hosts"
    if found := _ANSWERED.search(text):
        return _status(int(found[1] or found[2]))
    if getattr(error, "error_code", None) in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        return _status(401)
    if "not in a valid JSON format" in text:
        return "what answers there is no MLflow server"
    if "sqlalche.me" in text:
        found = next((told for pattern, told in _DATABASES if re.search(pattern, text.partition("[SQL:")[0])), None)
        return found or _own_words(whole[-1])
    return _own_words(whole[-1] if text.startswith("API request to") else error)


def _origins(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it came from."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(code: int) -> str:
    if code in (401, 403):
        return "it refuses the user name or password"
    if code == 404:
        return "what answers there is no MLflow server"
    return f"it answers with an error: {code}"


def _own_words(error: BaseException) -> str:
    """Return the first sentence, without the class and the error code that stand before it."""
    first = next((line for line in map(str.strip, str(error).splitlines()) if line), type(error).__name__)
    first = re.sub(r"^(?:[A-Z_]+: |\([\w.]+\) |\[Errno \d+\] )+", "", first).partition(" [SQL:")[0].rstrip(" .:")
    return masked(first if len(first) <= LONGEST else first[:LONGEST].rpartition(" ")[0] + " ...")

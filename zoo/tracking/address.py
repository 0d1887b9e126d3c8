"""The address of a tracking store, and its password: that lives in the environment alone and is never written down."""

import os
import re
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from omegaconf import DictConfig, OmegaConf, flag_override

from zoo.errors import MASK, SECRET, UserError, masked

__all__ = ["check", "connection", "hide", "kind_of", "masked", "without_password"]

USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_KINDS = "http://HOST:5000, sqlite:////ABSOLUTE/PATH.db or postgresql://USER@HOST/DATABASE"
# The server whose password the environment has from an address.
_owner: str | None = None


def without_password(uri: str) -> str:
    """Move an address' password to where MLflow, and the processes of a sweep, look for it; return it masked."""
    global _owner

    found = SECRET.search(uri)
    if found and (secret := found[2] or found[4]) != MASK:
        os.environ[PASSWORD] = unquote(secret)
        _owner = _host(uri)
        if _is_http(uri):
            os.environ[USER] = _user(uri)
    return masked(uri)


def hide(config: DictConfig) -> None:
    """Take the password out of a composed config, before anything of it is written, and keep it for `connection`.

    What Hydra has beside the config goes with it: the words of the command, of which each job of a sweep is composed
    anew, and the folder name that it makes of them.

    Raises:
        UserError: for a sweep over several addresses, one of them with a password.
    """
    hydra = OmegaConf.select(config, "hydra")
    words = OmegaConf.to_container(hydra.overrides.task, resolve=False) if hydra is not None else []
    assert isinstance(words, list)
    uri = OmegaConf.select(config, "tracking.uri")
    if not isinstance(uri, str) or masked(uri) == uri:
        if any(_key(word) == "tracking.uri" and masked(word) != word for word in words):
            raise UserError("tracking.uri: a sweep has one store; give the passwords of several in MLflow's own ways.")
        return
    shown = without_password(uri)
    # Its flags are Hydra's, or those of a person's own.
    with flag_override(config, ["readonly", "struct"], [False, False]):
        config.tracking.uri = shown
        if hydra is None:
            return
        quoted = shown.replace("\\", "\\\\").replace("'", "\\'")
        word = f"tracking.uri='{quoted}'"
        given = [_key(word) == "tracking.uri" for word in words]
        if any(given):
            hydra.overrides.task = [word if of_store else other for other, of_store in zip(words, given, strict=True)]
        else:  # from a file, which the jobs would read again
            hydra.overrides.hydra.append(word)
        if isinstance(name := OmegaConf.select(hydra, "job.override_dirname"), str):
            hydra.job.override_dirname = masked(name)


def connection(uri: str) -> str:
    """Return what MLflow is given for a masked address.

    Of http without user and password: MLflow sends those that the environment has.

    Raises:
        UserError: if there is no such kind of address, if the environment lacks its password, or has another's.
    """
    check(uri)
    if MASK in uri and not (os.environ.get(PASSWORD) or (_is_http(uri) and os.environ.get(TOKEN))):
        raise UserError(f"the tracking store {uri} needs its password again: set {PASSWORD}.")
    if (MASK in uri or _is_http(uri)) and _owner not in (None, _host(uri)):
        raise UserError(
            f"the tracking store {uri} may not get the password of {_owner}; send to it by another command."
        )
    if not _is_http(uri):
        return uri.replace(MASK, quote(os.environ.get(PASSWORD, ""), safe=""), 1)
    if (user := _user(uri)) and os.environ.setdefault(USER, user) != user:
        raise UserError(f"the tracking store {uri} asks for another user than {USER}; set it, and {PASSWORD}.")
    return re.sub(r"://[^/?#]*@", "://", uri, count=1)


def kind_of(uri: str) -> str:
    """Return what stands before the colon, without the name of a driver; nothing for a path."""
    scheme, colon, _ = uri.partition(":")
    return scheme.partition("+")[0] if colon or scheme == "databricks" else ""


def check(uri: str) -> None:
    """Refuse what MLflow has no store for.

    Raises:
        UserError: naming what it may be, or the package that is missing.
    """
    kind = kind_of(uri)
    if kind in ("file", ""):
        if "MLFLOW_ALLOW_FILE_STORE" in os.environ:
            return
        path = Path(uri.removeprefix("file:").replace("//", "/")).resolve() / "mlflow.db"
        raise UserError(f"tracking.uri={uri}: MLflow has given up stores of files; give sqlite:///{path}.")
    if kind in DATABASES:
        _check_driver(uri)
    elif kind in ("http", "https"):
        try:
            if not urlsplit(uri).hostname or urlsplit(uri).port == 0 or re.search(r"\s", uri):
                raise ValueError("no host")
        except ValueError as error:
            raise UserError(
                f"tracking.uri={uri}: that is no address; give http://HOST:5000, with %2F for a / in a password."
            ) from error
    elif kind != "databricks" and kind not in {point.name for point in entry_points(group="mlflow.tracking_store")}:
        raise UserError(f"tracking.uri={uri}: there is no such kind of store; give {_KINDS}.")


def _check_driver(uri: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    packages = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
    try:
        make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        package = packages.get(error.name or "", error.name)
        raise UserError(f"tracking.uri={uri}: its driver is not installed: pip install {package}.") from error
    except (ArgumentError, ValueError) as error:  # also a driver that SQLAlchemy does not know
        raise UserError(f"tracking.uri={uri}: that is no address of a database; give {_KINDS}.") from error


def _is_http(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _host(uri: str) -> str:
    """Return scheme, host and port."""
    scheme, _, rest = masked(uri).partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"


def _user(uri: str) -> str:
    found = re.match(r"[\w+]+://([^\s/?#:@[]+)(?::\*\*\*)?@", masked(uri))
    return unquote(found[1]) if found else ""


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")

"""How a mistake is told: a person's own in one line, an error in a person's code with that code's traceback."""

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from zoo.interrupts import told_to_end
from zoo.refusals import of_hydra

# As the person set it: inside `reported` it is always 1.
FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"

COMMANDS = ("train.py", "gradient-zoo", "<frozen runpy>")  # files that begin `zoo.__main__`
MASK = "***"
# USER:PASSWORD@ and ?password= of an address; the digits of HOST:5000/ are a port, whatever @ comes later.
SECRET = re.compile(r"""(://[^\s/?#:@[]*:)(?!\d+(?:[/?#]|$))(\S+)(?=@)|([?&]password=)([^&\s'"]+)""")


class UserError(Exception):
    """A mistake in what the user gave (config, data, file, server). Its text is one line: the thing, and the cure."""


def masked(text: str) -> str:
    """Return an address, or a text with addresses in it, with *** for each password."""
    return SECRET.sub(lambda found: f"{found[1] or found[3]}{MASK}", text)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn an exception that leaves the block into what the user should read, and exit with 1.

    With HYDRA_FULL_ERROR=1 in the environment exceptions pass as they are.
    """
    if FULL_ERROR:
        yield
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or else Hydra prints several lines of its own
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except BrokenPipeError:  # whoever read the output has gone: `train.py --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        if told_to_end.is_set():  # an interrupt that came while TensorFlow was at work may leave it as its own error
            sys.exit("interrupted")
        tell(error)
        sys.exit(1)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def tell(error: Exception) -> None:
    """Print one line for a user's mistake, the traceback for an error in somebody's code."""
    line = explain(error)
    if line is None:
        traceback.print_exception(error.with_traceback(_past_our_own(error.__traceback__)))
    else:
        print(f"error: {line}", file=sys.stderr)


def _past_our_own(stack: TracebackType | None) -> TracebackType | None:
    """Return the frames from the first that is neither ours nor Hydra's on; all of them where there is none."""
    first = stack
    while first is not None:
        path = Path(first.tb_frame.f_code.co_filename)
        if path.name not in COMMANDS and "hydra" not in path.parts and Path(__file__).parent not in path.parents:
            return first
        first = first.tb_next
    return stack


def explain(error: Exception) -> str | None:
    """Return one line for a mistake in what the user gave; `None` for an error in somebody's code.

    No password of an address is in it, whatever word of the command it comes from.
    """
    line = _explain(error)
    return line and masked(line)


def _explain(error: Exception) -> str | None:
    if disk_full(error):
        return "there is no space left on the disk: free some, then give the same command again."
    if _out_of_memory(error):
        found = re.search(r"shape\s?\[[\d,]*\]", str(error))
        which = f" for a tensor of {found[0]}" if found else ""
        return f"there is not enough memory{which}: a smaller batch_size or network takes less."
    if isinstance(error, OSError) and (line := _unwritable(error)):
        return line
    if isinstance(error.__cause__, UserError):  # Hydra wraps what its targets raise
        error = error.__cause__
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if type(error).__module__.partition(".")[0] not in ("hydra", "omegaconf", "antlr4"):
        return None
    return of_hydra(error)


def _unwritable(error: OSError) -> str | None:
    """Return one line if it is our own folder that cannot be written; a person's own files are theirs."""
    cure = "give a folder that can be written as GRADIENT_ZOO_HOME"
    known = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
    if error.errno not in known or not error.filename:
        return None
    path = Path(os.fsdecode(error.filename)).absolute()
    if "mlruns" not in path.parts and str(path) != os.environ.get("GRADIENT_ZOO_HOME"):
        return None
    if error.errno == errno.ENOENT:
        return None if path.parent.is_dir() else f"{path.parent} is gone: it was deleted while a run went on in it."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        file = next((place for place in (path, *path.parents) if place.is_file()), path)
        return f"{file} is a file, where a folder must be: move it away, or {cure}."
    why = "a disk that is mounted read-only" if error.errno == errno.EROFS else "no permission"
    return f"{path} cannot be written ({why}): {cure}."


def _out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any backend says that no memory is left."""
    names = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
    if any(kind.__name__ in names for kind in type(error).__mro__) or "RESOURCE_EXHAUSTED" in str(error):
        return True
    return error.__cause__ is not None and _out_of_memory(error.__cause__)


def disk_full(error: BaseException) -> bool:
    """Whether an exception, or one that it came from, says that a disk has no space left."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if "database or disk is full" in str(error):  # SQLite
        return True
    # What an exception was raised "from None" has as its context may lead back to it.
    origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return origin is not None and disk_full(origin)

"""Where the package and its configs lie, and what its command is called there."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# In a checkout the configs lie beside the package, where a reader looks first; in a wheel they lie inside it.
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "conf" / "config.yaml").is_file() else None
CONF = str(CHECKOUT / "conf" if CHECKOUT else PACKAGE / "conf")
COMMAND = "python train.py" if CHECKOUT else "gradient-zoo"  # as a person there types it

"""MLflow: where runs are recorded, and what of a run is. Knows plain data, not Keras and not Hydra.

What a run logs is written to its journal first (`journal`); from there it goes to the store (`store`) in a thread of
its own (`delivery`). So no training waits for a server, and nothing is lost with one.

    python -m zoo.tracking resend     # send what a server missed, mark runs whose process is gone as KILLED
    python -m zoo.tracking restore    # bring in again what a lost database held
"""

from zoo.tracking.log import RunLog
from zoo.tracking.resend import resend
from zoo.tracking.store import Store, embedded_uri, flatten, origin, parameters_of

__all__ = ["RunLog", "Store", "embedded_uri", "flatten", "origin", "parameters_of", "resend"]

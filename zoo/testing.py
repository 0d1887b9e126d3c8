"""For a person's own tests."""

from typing import Any

import keras


def assert_trainable(model: keras.Model, x: Any, y: Any = None, *, validation_data: Any = None) -> None:
    """Fail with the check-up's faults as its message, if there are any; the model is as before.

    ```python
    def test_the_model_can_train():
        assert_trainable(make_model(), x, y)
    ```

    Args:
        model, x, y, validation_data: as `zoo.check` takes them.

    Raises:
        AssertionError: if the check-up finds a fault.
        RuntimeError, TypeError, ValueError: as `zoo.check` does.
    """
    from zoo.checkup.check import check

    faults = check(model, x, y, validation_data=validation_data).faults
    if faults:
        raise AssertionError("\n".join(map(str, faults)))

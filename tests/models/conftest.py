import keras
import pytest


@pytest.fixture
def shapes_alone():
    """Networks that are built in the test have weights with a shape and no values: that takes a third of the time."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)  # or the next scope that ends would give all of them their values

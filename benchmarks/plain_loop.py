"""The loop over fresh models in one process that benchmarks/sweeps.py compares with: plain Keras, nothing recorded.

    python benchmarks/plain_loop.py FIRST_SEED LAST_SEED    # without the last

Prints the seconds of all of them, after everything is imported.
"""

import sys
import time

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
began = time.perf_counter()
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.2, random_state=seed, stratify=y)
    hidden = [keras.layers.Dense(64, "relu", kernel_initializer="he_normal") for _ in range(5)]
    model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=32, epochs=3, validation_split=0.1, verbose=0)
    model.evaluate(x_test, y_test, verbose=0)
print(time.perf_counter() - began)

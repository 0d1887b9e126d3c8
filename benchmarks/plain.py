"""The shortest plain Keras and MLflow script for the training that benchmarks/sweeps.py compares with.

    python benchmarks/plain.py SEED STORE

It trains the same network on the same digits and records the same losses; it sees no gradients, and judges nothing.
"""

import sys

import keras
import mlflow
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

seed, store = int(sys.argv[1]), sys.argv[2]
keras.utils.set_random_seed(seed)
x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.2, random_state=seed, stratify=y)
hidden = [keras.layers.Dense(64, "relu", kernel_initializer="he_normal") for _ in range(5)]
model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
mlflow.set_tracking_uri(store)
mlflow.set_experiment("plain")
with mlflow.start_run():
    mlflow.log_params({"seed": seed, "depth": 5, "width": 64, "learning_rate": 0.001})
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: mlflow.log_metrics(logs, step=epoch + 1))
    model.fit(x_train, y_train, batch_size=32, epochs=3, validation_split=0.1, verbose=0, callbacks=[record])
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    mlflow.log_metric("test_accuracy", accuracy)

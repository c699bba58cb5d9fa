"""Keras on torch: `compile` and `fit` as in its guide to transfer learning, on timm's network in its wrapper.

keras.applications has neither this architecture nor, without network, any weights.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from contender import ARCHITECTURE, MEAN, SIZE, STD, Result, Task, run_contender
from timm import create_model

HEAD_RATE, FINE_TUNE_RATE = 1e-3, 1e-4


class Images(keras.utils.PyDataset):
    """Batches of a split's files, read with Keras' own functions."""

    def __init__(self, task: Task, split: str) -> None:
        super().__init__()
        folders = sorted((task.images / split).iterdir())
        files = [(path, number) for number, folder in enumerate(folders) for path in sorted(folder.iterdir())]
        self.paths = [path for path, _ in files]
        self.labels = np.array([number for _, number in files])
        self.batch_size, self.is_train = task.batch_size, split == "train"
        self.generator = np.random.default_rng(task.seed)
        self.order = np.arange(len(files))
        self.on_epoch_begin()

    def on_epoch_begin(self) -> None:
        if self.is_train:
            self.order = self.generator.permutation(len(self.order))

    def __len__(self) -> int:
        return (len(self.order) + self.batch_size - 1) // self.batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images = [
            keras.utils.img_to_array(
                keras.utils.load_img(self.paths[row], target_size=(SIZE, SIZE), interpolation="bicubic")
            )
            for row in rows
        ]
        return np.stack(images), self.labels[rows]


def train(task: Task, result: Result) -> None:
    keras.utils.set_random_seed(task.seed)
    with result.phase("head"):
        network = create_model(
            ARCHITECTURE, pretrained=True, pretrained_cfg_overlay={"file": str(task.weights)}, num_classes=0
        )
        base = keras.layers.TorchModuleWrapper(
            network, name="base", output_shape=(None, network.num_features)
        )
        mean, variance = np.array(MEAN) * 255, (np.array(STD) * 255) ** 2
        inputs = keras.Input((SIZE, SIZE, 3))
        shown = keras.layers.RandomFlip("horizontal_and_vertical", seed=task.seed)(inputs)
        shown = keras.layers.Normalization(mean=mean, variance=variance)(shown)
        shown = keras.layers.Permute((3, 1, 2))(shown)
        features = base(shown, training=False)  # the guide keeps batch norms as they are in both phases
        model = keras.Model(inputs, keras.layers.Dense(task.num_classes)(features))
        images = Images(task, "train")
        base.trainable = False
        network.requires_grad_(False)
        fit(model, images, task.head_epochs, HEAD_RATE)
    with result.phase("measure"):
        result.accuracy["head"] = evaluate(model, task)
    with result.phase("fine-tune"):
        base.trainable = True
        network.requires_grad_(True)
        fit(model, images, task.fine_tune_epochs, FINE_TUNE_RATE)
    with result.phase("measure"):
        result.accuracy["fine-tuned"] = evaluate(model, task)


def fit(model: keras.Model, images: Images, num_epochs: int, rate: float) -> None:
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(images, epochs=num_epochs, verbose=0)


def evaluate(model: keras.Model, task: Task) -> float:
    return float(model.evaluate(Images(task, "test"), verbose=0)[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_contender(train, "torch", "keras", "timm")

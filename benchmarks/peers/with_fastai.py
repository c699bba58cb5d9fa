"""fastai: `vision_learner` on timm's network, one cycle for its head, then one for everything at split rates."""

import torch
from contender import ARCHITECTURE, MEAN, SIZE, STD, Result, Task, run_contender
from fastai.callback.core import Callback, CancelValidException
from fastai.callback.schedule import Learner  # brings fit_one_cycle
from fastai.metrics import accuracy
from fastai.torch_core import set_seed
from fastai.vision.augment import Resize, ResizeMethod, aug_transforms
from fastai.vision.data import ImageDataLoaders, Normalize
from fastai.vision.learner import vision_learner
from safetensors.torch import load_file

BASE_RATE = 2e-3  # its own default, and what `fine_tune` makes of it in the second phase


class NoValidation(Callback):
    """The number of epochs is given: nothing is chosen on val, and no contender pays for it."""

    def before_validate(self) -> None:
        raise CancelValidException


def train(task: Task, result: Result) -> None:
    set_seed(task.seed)
    with result.phase("head"):
        loaders = ImageDataLoaders.from_folder(
            task.images,
            train="train",
            valid="test",  # looked at by `evaluate` alone
            bs=task.batch_size,
            num_workers=0,
            item_tfms=Resize(SIZE, method=ResizeMethod.Squish),
            batch_tfms=[
                *aug_transforms(
                    flip_vert=True, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0, p_affine=0
                ),
                Normalize.from_stats(MEAN, STD),
            ],
        )
        learner = vision_learner(loaders, ARCHITECTURE, pretrained=False, normalize=False, metrics=accuracy)
        state = load_file(task.weights)
        missing, _ = learner.model[0].model.load_state_dict(state, strict=False)
        assert not missing, missing
        learner.freeze()
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(task.head_epochs, BASE_RATE, pct_start=0.99, cbs=NoValidation())
    with result.phase("measure"):
        result.accuracy["head"] = evaluate(learner)
    with result.phase("fine-tune"), learner.no_bar(), learner.no_logging():
        learner.unfreeze()
        rate = BASE_RATE / 2
        learner.fit_one_cycle(
            task.fine_tune_epochs, slice(rate / 100, rate), pct_start=0.3, div=5.0, cbs=NoValidation()
        )
    with result.phase("measure"):
        result.accuracy["fine-tuned"] = evaluate(learner)


def evaluate(learner: Learner) -> float:
    with learner.no_bar(), learner.no_logging():
        _, right = learner.validate()
    return right


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_contender(train, "torch", "fastai", "timm")

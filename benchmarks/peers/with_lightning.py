"""Lightning: a module, torchvision's folders, and two fits of a Trainer: the head, then everything."""

import logging

import lightning
import torch
from contender import ARCHITECTURE, MEAN, SIZE, STD, Result, Task, run_contender
from timm import create_model
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

HEAD_RATE, FINE_TUNE_RATE = 3e-3, 1e-4


class Transfer(lightning.LightningModule):
    def __init__(self, model: nn.Module, rate: float) -> None:
        super().__init__()
        self.model, self.rate = model, rate
        self.num_right = self.num_seen = 0

    def training_step(self, batch, batch_idx: int) -> torch.Tensor:
        image, target = batch
        loss = nn.functional.cross_entropy(self.model(image), target)
        self.log("train_loss", loss)
        return loss

    def test_step(self, batch, batch_idx: int) -> None:
        image, target = batch
        right = (self.model(image).argmax(1) == target).float().mean()
        self.log("accuracy", right, on_step=False, on_epoch=True, batch_size=len(image))

    def configure_optimizers(self):
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.rate)
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def loader(task: Task, split: str) -> DataLoader:
    is_train = split == "train"
    steps = [
        v2.ToImage(),
        v2.Resize((SIZE, SIZE), interpolation=v2.InterpolationMode.BICUBIC),
        *([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()] if is_train else []),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
    images = ImageFolder(task.images / split, v2.Compose(steps))
    return DataLoader(images, task.batch_size, shuffle=is_train)


def trainer(num_epochs: int) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=num_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def train(task: Task, result: Result) -> None:
    lightning.seed_everything(task.seed, verbose=False)
    with result.phase("head"):
        model = create_model(
            ARCHITECTURE,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(task.weights)},
            num_classes=task.num_classes,
        )
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
        batches, module = loader(task, "train"), Transfer(model, HEAD_RATE)
        trainer(task.head_epochs).fit(module, batches)
    with result.phase("measure"):
        result.accuracy["head"] = evaluate(module, task)
    with result.phase("fine-tune"):
        model.requires_grad_(True)
        module.rate = FINE_TUNE_RATE
        trainer(task.fine_tune_epochs).fit(module, batches)
    with result.phase("measure"):
        result.accuracy["fine-tuned"] = evaluate(module, task)


def evaluate(module: Transfer, task: Task) -> float:
    (scores,) = trainer(1).test(module, loader(task, "test"), verbose=False)
    return scores["accuracy"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    run_contender(train, "torch", "torchvision", "lightning", "timm")

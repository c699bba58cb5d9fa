"""timm's own building blocks, as its training script puts them together: AdamW, cosine, float32."""

import torch
from contender import ARCHITECTURE, MEAN, SIZE, STD, Result, Task, run_contender
from timm import create_model, utils
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn

HEAD_RATE, FINE_TUNE_RATE, WEIGHT_DECAY = 3e-3, 1e-4, 0.02


def loader(task: Task, split: str):
    is_train = split == "train"
    return create_loader(
        create_dataset("", root=task.images, split=split, is_training=is_train),
        input_size=(3, SIZE, SIZE),
        batch_size=task.batch_size,
        is_training=is_train,
        use_prefetcher=False,
        scale=(1.0, 1.0),  # the whole cell
        ratio=(1.0, 1.0),
        hflip=0.5,
        vflip=0.5,
        color_jitter=None,
        interpolation="bicubic",
        mean=MEAN,
        std=STD,
        crop_pct=1.0,
        num_workers=0,
        persistent_workers=False,
    )


def train_epochs(model: nn.Module, batches, num_epochs: int, rate: float) -> None:
    optimizer = create_optimizer_v2(model, opt="adamw", lr=rate, weight_decay=WEIGHT_DECAY)
    scheduler, num_epochs = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=num_epochs,
        step_on_epochs=False,
        updates_per_epoch=len(batches),
    )
    criterion, num_updates = nn.CrossEntropyLoss(), 0
    for _ in range(num_epochs):
        losses = utils.AverageMeter()
        for image, target in batches:
            loss = criterion(model(image), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            num_updates += 1
            scheduler.step_update(num_updates)
            losses.update(loss.item(), len(image))


def evaluate(model: nn.Module, batches) -> float:
    model.eval()
    meter = utils.AverageMeter()
    with torch.inference_mode():
        for image, target in batches:
            (top1,) = utils.accuracy(model(image), target, topk=(1,))
            meter.update(top1.item(), len(image))
    return meter.avg / 100


def train(task: Task, result: Result) -> None:
    utils.random_seed(task.seed)
    with result.phase("head"):
        model = create_model(
            ARCHITECTURE,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(task.weights)},
            num_classes=task.num_classes,
        )
        model.train()
        backbone = [name for name, _ in model.named_children() if name != "classifier"]
        utils.freeze(model, backbone)  # their batch norms with them
        batches = loader(task, "train")
        train_epochs(model, batches, task.head_epochs, HEAD_RATE)
    with result.phase("measure"):
        result.accuracy["head"] = evaluate(model, loader(task, "test"))
    with result.phase("fine-tune"):
        utils.unfreeze(model, backbone)
        model.train()
        train_epochs(model, batches, task.fine_tune_epochs, FINE_TUNE_RATE)
    with result.phase("measure"):
        result.accuracy["fine-tuned"] = evaluate(model, loader(task, "test"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_contender(train, "torch", "timm")

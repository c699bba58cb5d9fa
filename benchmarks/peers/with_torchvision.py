"""The manner of torchvision's classification reference: ImageFolder, a plain float32 loop, SGD with momentum."""

import torch
from contender import ARCHITECTURE, MEAN, SIZE, STD, Result, Task, run_contender
from timm import create_model
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

HEAD_RATE, FINE_TUNE_RATE, WARMUP_FRACTION = 0.05, 0.005, 0.1


def loader(task: Task, split: str) -> DataLoader:
    is_train = split == "train"
    flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()] if is_train else []
    resize = transforms.Resize((SIZE, SIZE), interpolation=transforms.InterpolationMode.BICUBIC)
    steps = [resize, *flips, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    images = ImageFolder(task.images / split, transforms.Compose(steps))
    return DataLoader(images, task.batch_size, shuffle=is_train)


def train_one_epoch(
    model: nn.Module, criterion: nn.Module, optimizer, scheduler, batches: DataLoader
) -> None:
    model.train()
    num_right, sum_of_losses = 0, 0.0
    for image, target in batches:
        output = model(image)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        num_right += accuracy(output, target)  # its metric logger asks for both at every step
        sum_of_losses += loss.item()


def train_epochs(model: nn.Module, batches: DataLoader, num_epochs: int, rate: float) -> None:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=1e-4)
    num_updates = num_epochs * len(batches)
    warmup = max(1, int(num_updates * WARMUP_FRACTION))
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=num_updates - warmup),
        ],
        milestones=[warmup],
    )
    for _ in range(num_epochs):
        train_one_epoch(model, nn.CrossEntropyLoss(), optimizer, scheduler, batches)


def accuracy(output: torch.Tensor, target: torch.Tensor) -> int:
    return int((output.argmax(1) == target).sum())


def evaluate(model: nn.Module, batches: DataLoader) -> float:
    model.eval()
    with torch.inference_mode():
        right = sum(accuracy(model(image), target) for image, target in batches)
    return right / len(batches.dataset)


def train(task: Task, result: Result) -> None:
    torch.manual_seed(task.seed)
    with result.phase("head"):
        model = create_model(
            ARCHITECTURE,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(task.weights)},
            num_classes=task.num_classes,
        )
        batches = loader(task, "train")
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
        train_epochs(model, batches, task.head_epochs, HEAD_RATE)
    with result.phase("measure"):
        result.accuracy["head"] = evaluate(model, loader(task, "test"))
    with result.phase("fine-tune"):
        model.requires_grad_(True)
        train_epochs(model, batches, task.fine_tune_epochs, FINE_TUNE_RATE)
    with result.phase("measure"):
        result.accuracy["fine-tuned"] = evaluate(model, loader(task, "test"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_contender(train, "torch", "torchvision", "timm")

"""The tables of benchmarks/peers: medians and ranges over seeds, and paired ratios to regraft.

Knows only the lines that run.py wrote.
"""

import statistics
from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]

# What counts until there is a model. regraft's `ingest` (checking, hashing, near copies) has no like in the peers: it
# is no part of these, and all of `whole`.
HEAD_EPOCHS, FINE_TUNE_EPOCHS = 5, 3
HEAD, TRAINING = ("head",), ("head", "fine-tune")


def report(rows: list[Row]) -> None:
    """Print a group of tables for each number of images, kind of split and processor, and for all processors."""
    for num_images, split in sorted({(row["num_images"], row["split"]) for row in rows}):
        alike = [row for row in rows if (row["num_images"], row["split"]) == (num_images, split)]
        processors = list(dict.fromkeys(row["machine"]["cpu"] for row in alike))
        for processor in [*processors, "all processors"] if len(processors) > 1 else processors:
            chosen = [row for row in alike if processor in (row["machine"]["cpu"], "all processors")]
            counts = chosen[0]["counts"]
            listed = ", ".join(f"{counts[name]} {name}" for name in ("train", "val", "test"))
            print(
                f"\n{num_images} images ({listed} with seed {chosen[0]['seed']}), {split} split, {processor}"
            )
            print_group(chosen)
    newest = rows[-1]
    print(f"\n{newest['machine']}")
    for contender in dict.fromkeys(row["contender"] for row in rows):
        print(contender, next(row["versions"] for row in reversed(rows) if row["contender"] == contender))


def print_group(chosen: list[Row]) -> None:
    """All tables of some rows, pairs being those of one seed."""
    print("\nHead alone (peers: 5 epochs; regraft: decoding, frozen features, solved head)\n")
    print_table(chosen, lambda row: total(row, HEAD), "head")
    for ours in ("regraft", "regraft_openvino"):
        if any(row["contender"] == ours for row in chosen):
            print(f"\nHead alone, without what {ours} does for images of test, as the peers\n")
            print_table(chosen, head_without_test, "head", ours=ours)
    print("\nHead and fine-tuning (peers: 5 + 3 epochs; regraft: as shipped)\n")
    print_table(chosen, lambda row: total(row, TRAINING), "fine-tuned")
    print_epochs([row for row in chosen if not row["contender"].startswith("regraft")])
    print("\nWhole process: start-up, training, measuring on test; regraft's checks of all files, figures\n")
    print_table(chosen, lambda row: row["whole"], "fine-tuned")
    print_steps([row for row in chosen if row["contender"] == "regraft"])


def print_table(
    rows: list[Row], seconds: Callable[[Row], dict[str, float]], model: str, *, ours: str = "regraft"
) -> None:
    """A line a contender; ratios to one of ours."""
    our_s = {row["seed"]: seconds(row)["cpu_s"] for row in rows if row["contender"] == ours}
    print("| | n | CPU s | wall s | CPU ratio, paired | test accuracy | peak memory, GiB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for contender in dict.fromkeys(row["contender"] for row in sorted(rows, key=lambda row: row["seed"])):
        own = [row for row in rows if row["contender"] == contender]
        ratios = [seconds(row)["cpu_s"] / our_s[row["seed"]] for row in own if row["seed"] in our_s]
        cells = [
            contender,
            str(len(own)),
            spread([seconds(row)["cpu_s"] for row in own], "{:.0f}"),
            spread([seconds(row).get("wall_s", float("nan")) for row in own], "{:.0f}"),
            spread(ratios, "{:.1f}") if ratios else "–",
            accuracy([row["accuracy"][model] for row in own]),
            spread([row["whole"]["peak_bytes"] / 2**30 for row in own], "{:.2f}"),
        ]
        print("| " + " | ".join(cells) + " |")


def print_steps(rows: list[Row]) -> None:
    """Where regraft's CPU seconds go, and what a second run with another head costs."""
    if not rows:
        return
    print("\nregraft by step, CPU s\n")
    for phase in rows[0]["phases"]:
        if not phase.startswith("second head"):
            print(f"* {phase}: {spread([row['phases'][phase]['cpu_s'] for row in rows], '{:.2f}')}")
    for phase in (name for name in rows[0]["phases"] if name.startswith("second head")):
        for first, phases in (
            ("first head", HEAD),
            ("first run to a head, its ingest too", ("ingest", *HEAD)),
        ):
            ratios = [total(row, phases)["cpu_s"] / row["phases"][phase]["cpu_s"] for row in rows]
            print(f"* {first} / {phase}: {spread(ratios, '{:.1f}')} times")


def print_epochs(rows: list[Row]) -> None:
    """What an epoch costs the peers, start-up of the phase included."""
    if not rows:
        return
    print("\nCPU ms an image and epoch: head | everything\n")
    for contender in dict.fromkeys(row["contender"] for row in rows):
        costs = [
            spread(
                [
                    row["phases"][phase]["cpu_s"] / num_epochs / row["counts"]["train"] * 1e3
                    for row in rows
                    if row["contender"] == contender
                ],
                "{:.0f}",
            )
            for phase, num_epochs in (("head", HEAD_EPOCHS), ("fine-tune", FINE_TUNE_EPOCHS))
        ]
        print(f"* {contender}: {' | '.join(costs)}")


def total(row: Row, phases: Iterable[str]) -> dict[str, float]:
    """CPU and wall seconds of some phases together."""
    return {unit: sum(row["phases"][phase][unit] for phase in phases) for unit in ("cpu_s", "wall_s")}


def head_without_test(row: Row) -> dict[str, float]:
    """Of the head; regraft decodes and runs all images at once, each at the same cost: those of test taken out."""
    seconds = total(row, HEAD)
    if row["contender"].startswith("regraft"):
        of_test = total(row, ("head: normalize", "head: build_backbone"))
        share = row["counts"]["test"] / row["num_images"]
        seconds = {unit: seconds[unit] - share * of_test[unit] for unit in seconds}
    return seconds


def spread(values: list[float], form: str) -> str:
    """The median, and the range where there is one."""
    middle = form.format(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))}–{form.format(max(values))})"


def accuracy(values: list[float]) -> str:
    """The mean, and the standard deviation where there is one."""
    mean = f"{statistics.mean(values):.1%}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.1f}"

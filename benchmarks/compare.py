"""What a comparison's choice loses against fine-tuning everything, and what it costs.

In a project whose conf/local names images and backbones:

    python benchmarks/compare.py --share 0.25 --all fine_tune.unfreeze=all

Fine-tunes every candidate once, as --all says (each result is kept, so a run that was stopped goes on), then lets the
comparison choose as shipped, with a budget of that share of the cost of fine-tuning all. On both sides everything
counts: images decoded, features, probes (fine-tuning starts from one), fine-tuning. Writes
benchmarks/results/compare-NAME.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMPARISON = Path("data/08_reporting/comparison/comparison.json")


def compare(*changes: str, params: str) -> dict[str, Any]:
    """One comparison, as a person types it."""
    told = ",".join([*([params] if params else []), *changes])
    command = [sys.executable, "-m", "kedro", "run", "--pipeline", "compare", "--params", told]
    subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads(COMPARISON.read_text())
    return found


def accuracy(row: dict[str, Any], variant: str) -> float:
    return float(row["test"][variant]["accuracy"]["value"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=0.25, help="of the cost of fine-tuning all")
    parser.add_argument("--name", default="here", help="of the result's file")
    parser.add_argument("--params", default="", help="of both, handed to kedro run, as for --params there")
    parser.add_argument("--all", default="", help="the same, where every candidate is fine-tuned")
    arguments = parser.parse_args()
    everything = compare(
        "compare.slack=1.0,compare.max_fine_tuned=1000,compare.max_minutes=1.0e6",
        *([arguments.all] if arguments.all else []),
        params=arguments.params,
    )
    models = {row["model"]: row for row in everything["models"]}
    if missing := sorted(name for name, row in models.items() if "fine_tuned" not in row["costs"]):
        raise SystemExit(f"not fine-tuned: {', '.join(missing)}; fit fine_tune.unfreeze to all of them")
    all_minutes = everything["minutes"]
    comparison = compare(f"compare.max_minutes={arguments.share * all_minutes:.4f}", params=arguments.params)
    chosen = comparison["models"][0]
    best = max(models.values(), key=lambda row: accuracy(row, "fine_tuned"))
    result = {
        "chosen": chosen["model"],
        "variant": chosen["variant"],
        "chosen_accuracy": accuracy(chosen, chosen["variant"]),
        "best_fine_tuned": best["model"],
        "best_accuracy": accuracy(best, "fine_tuned"),
        "lost": accuracy(best, "fine_tuned") - accuracy(chosen, chosen["variant"]),
        "num_test": comparison["num_images"]["test"],
        "minutes": comparison["minutes"],
        "minutes_of_all": all_minutes,
        "cost_share": comparison["minutes"] / all_minutes,
        "cpu_cost_share": comparison["cpu_minutes"] / everything["cpu_minutes"],
        "models": {
            name: {
                "probe": accuracy(row, "probe"),
                "fine_tuned": accuracy(row, "fine_tuned"),
                "costs": row["costs"],
            }
            for name, row in models.items()
        },
        "outcomes": {row["model"]: row["outcome"] for row in comparison["models"]},
    }
    path = Path("benchmarks/results") / f"compare-{arguments.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

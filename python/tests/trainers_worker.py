"""What each of two ranks of test_trainers_ranks.py runs: trainers' own loops with a sampler that learns.

python trainers_worker.py FOLDER transformers|musubi-tuner|anima
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

import test_trainers_flow as flow
import test_trainers_huggingface as huggingface

LOCAL = {"transformers": 4, "musubi-tuner": 4, "anima": 6}
"""The local batch of each trainer."""


def drawn(trainer: str, folder: Path, rank: int) -> list[Any]:
    """The batches of this rank, with their losses; those of a step in which it has none are empty."""
    if trainer == "transformers":
        return [
            (call["t"], call["t"], call["losses"])
            for call in huggingface.train(folder, huggingface.adaptive, 4)
        ]
    if trainer == "musubi-tuner":
        seen = flow.musubi_run(folder / str(rank), flow.ADAPTIVE, 8, gradient_accumulation_steps=1)
        return [((call["timesteps"] - 1) / 1000, None, call["errors"]) for call in seen]
    torch.distributed.init_process_group("gloo")
    batches = flow.anima_batches(4)
    if rank == 1:
        # This rank's second batch has only images of the regularization set; the other's has none.
        batches[1] = (batches[1][0], torch.zeros(6, dtype=torch.bool))
    run = flow.anima_run(folder / str(rank), flow.INFO_NOISE, batches, grad_accum=1)
    result = []
    for call in run.seen:
        kept = call["main"] & call["raw_mse"].isfinite()
        result.append((call["t"], call["t"][kept], call["raw_mse"][kept]))
    return result


if __name__ == "__main__":
    target, name = Path(sys.argv[1]), sys.argv[2]
    number = int(os.environ["RANK"])
    os.environ.update(LOCAL_RANK=os.environ["RANK"], LOCAL_WORLD_SIZE="2", ACCELERATE_USE_CPU="true")
    (target / str(number)).mkdir()
    torch.save(drawn(name, target, number), target / f"{number}.pt")
    # The trainer's cycles hold the group: without this its threads live on, and one that drops a tensor
    # while the interpreter ends aborts the process.
    gc.collect()
    torch.distributed.destroy_process_group()

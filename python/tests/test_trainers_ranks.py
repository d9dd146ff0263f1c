"""Two ranks in other trainers' loops draw and learn what one process would."""

from __future__ import annotations

from pathlib import Path

import launched_ranks
import pytest
import torch
import trainers_worker
from test_trainers_flow import ADAPTIVE, INFO_NOISE, own
from test_trainers_huggingface import adaptive


@pytest.mark.parametrize("trainer", trainers_worker.LOCAL)
def test_two_ranks_share_one_global_batch_and_learn_the_same(tmp_path: Path, trainer: str) -> None:
    command = [str(Path(trainers_worker.__file__)), str(tmp_path), trainer]
    codes, _, errors = launched_ranks.run("gloo", [command, command])
    assert codes == [0, 0], errors
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    expressions = {"musubi-tuner": ADAPTIVE, "anima": INFO_NOISE}
    plain = own(expressions[trainer]) if trainer in expressions else adaptive()
    assert len(ranks[0]) == len(ranks[1]) == 4
    for parts in zip(*ranks, strict=True):
        t, _ = plain.sample(2 * trainers_worker.LOCAL[trainer])
        torch.testing.assert_close(torch.cat([part[0] for part in parts]), t, rtol=0, atol=1e-7)
        levels = [whole if kept is None else kept for (whole, kept, _) in parts]
        if trainer == "musubi-tuner":
            # Its timesteps are 1000·t + 1, rounded.
            levels = list(t.chunk(2))
        plain.update(torch.cat(levels), torch.cat([part[2] for part in parts]))
    assert not torch.equal(plain.sample(12)[0], type(plain).flow(plain.seed).sample(12, step=4)[0])

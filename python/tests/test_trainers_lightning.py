"""The seam of Lightning: docs/migrate/lightning.md, on a stand-in and on the package where there is one."""

from __future__ import annotations

import copy
import importlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest
import torch
from page_examples import own_lines, run

import speediff
from speediff.torch import SigmaSampler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADAPTIVE = speediff.sampling.Adaptive(bins=3, decay=0.5)


class StandIn:
    """Lightning's names, with the calls that matter here, in Lightning's order."""

    class LightningModule(torch.nn.Module):
        device = torch.device("cpu")

        def setup(self, stage: str) -> None:
            pass

    class Callback:
        @property
        def state_key(self) -> str:
            return type(self).__qualname__

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            pass

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            pass

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            pass

    class Trainer:
        def __init__(self, callbacks: list[Any], max_steps: int) -> None:
            self.callbacks, self.max_steps, self.global_step = callbacks, max_steps, 0
            self.model_state: Any = {}

        def fit(self, model: Any, train: Any, val: Any, ckpt_path: str | None = None) -> None:
            for callback in self.callbacks:
                callback.setup(self, model, stage="fit")
            model.setup(stage="fit")
            optimizer = model.configure_optimizers()
            if ckpt_path is not None:
                checkpoint = torch.load(ckpt_path, weights_only=False)
                self.global_step = checkpoint["global_step"]
                model.load_state_dict(checkpoint["state_dict"])
                for callback in self.callbacks:
                    if state := checkpoint["callbacks"].get(callback.state_key):
                        callback.load_state_dict(copy.deepcopy(state))
            self._validate(model, [next(iter(val))])
            for callback in self.callbacks:
                callback.on_train_start(self, model)
            batches = iter(self.epochs(train))
            while self.global_step < self.max_steps:
                model.train()
                loss = model.training_step(next(batches))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                self.global_step += 1
            self._validate(model, val)

        def validate(self, model: Any, batches: Any) -> None:
            for callback in self.callbacks:
                callback.setup(self, model, stage="validate")
            model.setup(stage="validate")
            self._validate(model, batches)

        @staticmethod
        def epochs(loader: Any) -> Iterator[Any]:
            while True:
                yield from loader

        @staticmethod
        def _validate(model: Any, batches: Any) -> None:
            model.eval()
            with torch.no_grad():
                for batch in batches:
                    model.validation_step(batch)

        def save_checkpoint(self, path: Any) -> None:
            states = {callback.state_key: callback.state_dict() for callback in self.callbacks}
            state = {"global_step": self.global_step, "state_dict": self.model_state, "callbacks": states}
            torch.save(state, path)


@pytest.fixture(params=["stand-in", "lightning.pytorch", "pytorch_lightning"])
def package(request: pytest.FixtureRequest) -> Any:
    if request.param == "stand-in":
        return StandIn
    pytest.importorskip(request.param)
    return importlib.import_module(request.param)


def fit(
    package: Any, steps: int, sampler: str, folder: Path, checkpoint: str | None = None
) -> tuple[Any, list[Any]]:
    """Follows the page; returns the trainer, and what each step saw."""
    seen: list[Any] = []

    class DiffusionModule(package.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def losses_of(self, images: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            losses = (self.scale * images + t[:, None]).square().mean(1)
            seen.append({"t": t, "losses": losses.detach(), "train": self.training})
            return losses

        def validation_step(self, images: torch.Tensor) -> None:
            self.training_step(images)  # type: ignore[operator]

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    options: dict[str, Any] = {"max_steps": steps}
    if package is not StandIn:
        options |= {
            "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
            "accelerator": "cpu", "enable_checkpointing": False, "default_root_dir": str(folder),
        }  # fmt: skip
    names = {
        "DiffusionModule": DiffusionModule, "Callback": package.Callback, "Trainer": package.Trainer,
        "options": options, "ADAPTIVE": ADAPTIVE,
    }  # fmt: skip
    run("lightning", names, sampler=sampler)
    loader = torch.utils.data.DataLoader(torch.zeros(12, 2), batch_size=4)  # type: ignore[arg-type]
    trainer, module = names["trainer"], names["Diffusion"]()
    trainer.fit(module, loader, loader, ckpt_path=checkpoint)
    # Sets the module up again, which must not make another sampler.
    trainer.validate(module, loader)
    trainer.model_state = module.state_dict()
    return trainer, seen


@pytest.mark.parametrize(
    "sampler",
    [
        'SigmaSampler.flow(3, sampling="logit_normal", weighting="sigma_sqrt", shift=3.0)',
        'SigmaSampler.flow(3, sampling=ADAPTIVE, weighting="uniform")',
    ],
)
def test_lightning_draws_learns_and_resumes(package: Any, tmp_path: Path, sampler: str) -> None:
    path = str(tmp_path / "four.ckpt")
    trainer, seen = fit(package, 4, sampler, tmp_path)
    trainer.save_checkpoint(path)
    _, more = fit(package, 6, sampler, tmp_path, path)
    own = eval(sampler, {"SigmaSampler": SigmaSampler, "ADAPTIVE": ADAPTIVE})
    trained = 0
    for call in seen + more:
        if call["train"]:
            t, _ = own.sample(4)
            assert torch.equal(call["t"], t)
            trained += 1
            if own.learns:
                own.update(t, call["losses"])
        else:
            assert torch.equal(call["t"], own.sample(4, step=0)[0])
    assert trained == 6
    assert len(seen) + len(more) > 8


def test_the_stand_in_has_the_signatures_of_lightning() -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    for name in ("setup", "on_train_start", "state_dict", "load_state_dict"):
        theirs, ours = (getattr(place.Callback, name) for place in (lightning, StandIn))
        assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)


def test_the_page_asks_for_fewer_than_ten_lines() -> None:
    assert own_lines("lightning") < 10

"""The contenders of `trainer.py`, each in a process of its own that answers requests, one JSON line each.

A process of its own has the peak memory of its contender alone, and its threads spin in nobody else's step.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trainer_cases as cases

NAMES = {
    "speediff": "SpeeDiff",
    "speediff_bf16": "SpeeDiff bf16",
    "eager": "PyTorch eager",
    "compile": "torch.compile",
    "bf16": "PyTorch bf16",
    "compile_bf16": "torch.compile bf16",
}
TESTS = Path(__file__).resolve().parents[1] / "tests"


class SpeeDiff:
    """The trainer of this library."""

    def __init__(self, case: cases.Case, threads: int, seed: int, precision: str = "float32") -> None:
        start = time.perf_counter()
        import speediff

        self.import_seconds, self.import_bytes = time.perf_counter() - start, memory()["resident"]
        start = time.perf_counter()
        sampler = speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(cases.STEPS), seed=seed)
        self.trainer = speediff.Trainer(
            cases.network(case),
            sampler,
            learning_rate=cases.LEARNING_RATE,
            ema_decay=cases.EMA_DECAY,
            seed=seed,
            threads=threads,
            precision=precision,
            **case.data,
        )
        self.create_seconds = time.perf_counter() - start
        self.versions = {"speediff": speediff.__version__}
        self.batch = cases.batch(case, seed)
        self.parameters = cases.fill(self.trainer.parameters, seed)
        for name, value in self.trainer.parameters.items():
            self.trainer.ema_parameters[name][...] = value

    def checked_step(self) -> tuple[float, float]:
        """The loss and the gradient's norm of a step with everything given."""
        return self.trainer.backward(**self.batch._asdict()), self.trainer.apply()

    def step(self) -> None:
        """A training step that draws t, noise and dropped labels itself."""
        self.trainer.step(self.batch.x, self.batch.y)

    def before_update(self) -> None:
        """Its first half."""
        self.trainer.backward(self.batch.x, self.batch.y)

    def update(self) -> None:
        """AdamW and EMA."""
        self.trainer.apply()


class PyTorch:
    """The official network and objective, SDPA for DiT, fused AdamW and foreach EMA."""

    def __init__(self, case: cases.Case, threads: int, seed: int, kind: str) -> None:
        start = time.perf_counter()
        import torch

        self.import_seconds, self.import_bytes = time.perf_counter() - start, memory()["resident"]
        sys.path.append(str(TESTS))
        import reference
        import reference_dit
        import reference_mdt
        import reference_training

        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        start = time.perf_counter()
        shape = case.hidden_size, case.depth, case.num_heads, case.patch_size
        model: Any
        if case.decode_layer:
            model = reference_mdt.MDT(*shape, version=1, decode_layer=case.decode_layer, **case.data)
        else:
            model = reference_dit.DiT(*shape, **case.data)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.trained = list(trained.values())
        self.optimizer = torch.optim.AdamW(self.trained, lr=cases.LEARNING_RATE, weight_decay=0.0, fused=True)
        self.values = [p.detach() for p in self.trained]
        self.ema = [value.clone() for value in self.values]
        self.create_seconds = time.perf_counter() - start
        self.versions = {"torch": torch.__version__}
        self.torch, self.case, self.kind, self.objective = torch, case, kind, reference_training
        self.process = reference_training.Process(reference.linear_betas(cases.STEPS))
        self.network = torch.compile(model, dynamic=False) if kind.startswith("compile") else model
        arrays = cases.batch(case, seed)
        self.batch = cases.Batch(*(None if a is None else torch.from_numpy(a) for a in arrays))
        self.parameters = cases.fill({name: p.detach().numpy() for name, p in trained.items()}, seed)
        torch._foreach_copy_(self.ema, self.values)

    def backward(self, t: Any, weights: Any, *passes: tuple[Any, Any, Any]) -> Any:
        """Fresh gradients of passes with noise, labels and tokens that are kept; the loss."""
        x, loss = self.batch.x, 0
        for noise, y, kept in passes:
            x_t = self.process.noised("epsilon", x, t, noise)
            with self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.kind.endswith("bf16")):
                output = self.network(x_t, t, y, *(() if kept is None else (kept,)))
            losses = self.objective.losses(self.process, "epsilon", output.float(), x, t, noise)
            loss = loss + losses.objective(weights)
        self.optimizer.zero_grad()
        loss.backward()
        return loss

    def checked_step(self) -> tuple[float, float]:
        """The loss and the gradient's norm of a step with everything given."""
        _, y, t, noise, weights, masked_noise, kept = self.batch
        masked = [] if kept is None else [(masked_noise, y, kept)]
        loss = self.backward(t, weights, (noise, y, None), *masked)
        norm = self.torch.nn.utils.get_total_norm([p.grad for p in self.trained])
        self.update()
        return loss.item(), norm.item()

    def step(self) -> None:
        """A training step that draws t, noise and dropped labels itself."""
        self.before_update()
        self.update()

    def before_update(self) -> None:
        """Its first half."""
        torch, n = self.torch, self.case.batch
        t, passes = torch.randint(0, cases.STEPS, (n,)), []
        for kept in (None, self.case.kept)[: self.case.passes]:
            y = torch.where(torch.rand(n) < 0.1, self.case.num_classes, self.batch.y)
            tokens = None if kept is None else torch.rand(n, self.case.tokens).argsort(dim=1)[:, :kept]
            passes.append((torch.randn_like(self.batch.x), y, tokens))
        # The loss is read, as for a progress bar; SpeeDiff's step gives it back too.
        self.backward(t, torch.ones(n), *passes).item()

    def update(self) -> None:
        """AdamW and EMA."""
        self.optimizer.step()
        self.torch._foreach_lerp_(self.ema, self.values, 1 - cases.EMA_DECAY)


def memory() -> dict[str, int]:
    """Bytes of this process: now, and at most so far.

    ru_maxrss begins with the parent's where the child was made by vfork; VmHWM is the program's own.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {"resident": peak, "peak": peak}
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    names = {"resident": "VmRSS", "peak": "VmHWM"}
    return {key: int(lines[name].split()[0]) * 1024 for key, name in names.items()}


def timed(contender: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each step or update, and the page faults of one."""
    seconds, faults = [], 0
    for _ in range(request["times"]):
        if request["do"] == "update":
            contender.before_update()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        contender.update() if request["do"] == "update" else contender.step()
        seconds.append(time.perf_counter() - start)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"seconds": seconds, "faults": faults}


def answer(contender: Any, request: dict[str, Any]) -> dict[str, Any]:
    match request["do"]:
        case "check":
            start = time.perf_counter()
            pairs = [contender.checked_step()]
            first = time.perf_counter() - start
            pairs += [contender.checked_step() for _ in range(request["times"] - 1)]
            return {"losses": [p[0] for p in pairs], "norms": [p[1] for p in pairs], "first_seconds": first}
        case "memory":
            return {**memory(), "imports": contender.import_bytes, "torch": "torch" in sys.modules}
        case "step" | "update":
            return timed(contender, request)
        case "square":
            return {"seconds": contender.square(request["times"])}
        case other:
            result: dict[str, Any] = getattr(contender, other)()
            return result


def make(request: dict[str, Any]) -> Any:
    kind, threads = request["kind"], request["threads"]
    case = cases.Case(**request["case"])
    if kind == "speediff":
        return SpeeDiff(case, threads, request["seed"])
    if kind == "speediff_bf16":
        return SpeeDiff(case, threads, request["seed"], "bfloat16")
    import trainer_floor

    if kind in ("bf16", "compile_bf16", trainer_floor.BFLOAT16):
        trainer_floor.check_bfloat16()
    if kind in NAMES:
        return PyTorch(case, threads, request["seed"], kind)
    return trainer_floor.LIBRARIES[kind](case, threads)


def serve(request: dict[str, Any]) -> None:
    """Makes the contender and answers until standard input ends."""
    # What compilers print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contender = make(request)
    keys = ("versions", "parameters", "import_seconds", "create_seconds")
    print(json.dumps({key: getattr(contender, key, None) for key in keys}), file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(contender, json.loads(line))), file=answers)


class ContenderError(RuntimeError):
    """A contender's process has ended; the message is its last line."""


class Contender:
    """A contender's process, as the one that measures sees it."""

    def __init__(self, kind: str, case: cases.Case, threads: int, seed: int = 0) -> None:
        request = {"kind": kind, "case": vars(case), "threads": threads, "seed": seed}
        self.kind, self.case = kind, case
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        try:
            self.about = self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, times: int = 1) -> Any:
        """What the contender answers."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({"do": do, "times": times}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            lines = [text for text in self.errors.read().splitlines() if text.strip()]
            raise ContenderError(lines[-1] if lines else f"ended with status {code}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))

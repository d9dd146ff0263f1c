"""Files of trainers that are cut, damaged, rewritten or made up: errors, and never a crash."""

from __future__ import annotations

import json
import pickle
import random
from typing import TYPE_CHECKING

import checkpoint_files as files
import numpy as np
import pytest
import torch
from tiny_trainers import CLASSES, create, images, in_a_child, labels, refuses, sampler

import speediff
from speediff import NoiseSchedule, SpeeDiffFileError, Trainer, sampling

if TYPE_CHECKING:
    from pathlib import Path

LINEAR = NoiseSchedule.linear(1000)
ADAPTIVE = sampling.Adaptive(bins=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


@pytest.fixture
def file(path: Path) -> bytes:
    """A small checkpoint that is there."""
    model = speediff.DiT(hidden_size=8, depth=2, num_heads=2, patch_size=4)
    with create(sampler(sampling=ADAPTIVE), model) as trainer:
        trainer.step(images(), labels())
        trainer.step(images(), labels())
        trainer.save(path)
    return path.read_bytes()


def test_a_file_that_is_cut_is_an_error_wherever_it_is_cut(file: bytes, path: Path) -> None:
    header = 8 + int.from_bytes(file[:8], "little")
    places = [0, 1, 7, 8, 9, 100, header - 1, header, header + 1, (header + len(file)) // 2, len(file) - 1]
    for content in [*(file[:place] for place in places), file + b"\0", file + file, b"\0" * len(file)]:
        path.write_bytes(content)
        refuses(lambda: Trainer.load(path), str(path), kind=SpeeDiffFileError)
    path.write_bytes(file)
    Trainer.load(path).close()


def test_a_flipped_bit_is_an_error_wherever_it_is(file: bytes, path: Path) -> None:
    rng = random.Random(0)
    for place in [*range(0, 400, 3), *(rng.randrange(len(file)) for _ in range(200))]:
        path.write_bytes(file[:place] + bytes([file[place] ^ 1 << rng.randrange(8)]) + file[place + 1 :])
        refuses(lambda: Trainer.load(path), kind=SpeeDiffFileError)


def test_metadata_of_another_version_or_network_are_errors(file: bytes, path: Path) -> None:
    files.rewritten(file, path)
    Trainer.load(path).close()
    wrong = {
        "speediff.version": ["0", "1", "3", "2.0", "", "-1", None],
        "network.family": ["mdt", "DiT", "unet", "", "x" * 100, None],
        "network.version": ["1"],
        "network.depth": [
            "1",
            "3",
            "0",
            "-1",
            "4096",
            "9223372036854775807",
            "99999999999999999999",
            "two",
            None,
        ],
        "network.hidden_size": ["32", "65536", "17", "nan"],
        "network.mlp_ratio": ["nan", "inf", "2", "-4", "1e308", None],
        "network.input_size": ["16", "16384", "9"],
        "network.num_classes": ["7", "0", "16777216", "-1"],
        "network.learn_sigma": ["false", "True", "1"],
        "trainer.beta1": ["1", "nan", "-0.1"],
        "trainer.learning_rate": ["nan", "-1", "inf", "1e39", ""],
        "trainer.eps": ["0", "1e-46", "inf"],
        "trainer.max_grad_norm": ["0", "nan", "-inf"],
        "trainer.warmup_steps": ["-1", "1.5"],
        "trainer.precision": ["float16", "auto", ""],
        "trainer.seed": ["-1", "18446744073709551616"],
        "trainer.global_step": ["-1", "4294967297", "18446744073709551615"],
        "sampler.prediction": ["4", "x"],
        "note": ["", "[]", "{}", "null", "[" * 100_000, '{"version": 2}', None],
    }
    for key, values in wrong.items():
        for value in values:
            files.rewritten(file, path, **{key: value})
            try:
                Trainer.load(path).close()
            except (SpeeDiffFileError, speediff.SpeeDiffValueError) as error:
                message = str(error)
            else:
                message = "taken"
            assert "must" in message, (key, value)


def test_a_file_without_checksums_is_refused(file: bytes, path: Path) -> None:
    for keys in (files.KEYS, files.KEYS[:1], files.KEYS[1:]):
        header, data = files.split(file)
        for key in keys:
            del header["__metadata__"][key]
        path.write_bytes(files.joined(header, data))
        refuses(lambda: Trainer.load(path), "checksums", kind=SpeeDiffFileError)


def test_numbers_that_no_run_has_are_errors(file: bytes, path: Path) -> None:
    header, data = files.split(file)
    for name in ("blocks.1.mlp.fc1.weight", "exp_avg.final_layer.linear.bias", "ema.x_embedder.proj.weight"):
        begin, _ = header[name]["data_offsets"]
        path.write_bytes(files.joined(header, data[:begin] + b"\xff\xff\xff\xff" + data[begin + 4 :]))
        refuses(lambda: Trainer.load(path), name, "finite", kind=SpeeDiffFileError)
    for name in ("speediff.schedule.betas", "speediff.sampler.history"):
        begin, _ = header[name]["data_offsets"]
        path.write_bytes(files.joined(header, data[:begin] + b"\xff" * 8 + data[begin + 8 :]))
        with pytest.raises((SpeeDiffFileError, speediff.SpeeDiffValueError)):
            Trainer.load(path)


def test_a_negative_mean_of_squares_is_an_error(file: bytes, path: Path) -> None:
    header, data = files.split(file)
    begin, _ = header["exp_avg_sq.blocks.0.mlp.fc1.weight"]["data_offsets"]
    path.write_bytes(files.joined(header, data[: begin + 8] + np.float32(-1).tobytes() + data[begin + 12 :]))
    wanted = r"valid run: exp_avg_sq\.blocks\.0\.mlp\.fc1\.weight\[2\] must be finite and at least 0, got -1"
    refuses(lambda: Trainer.load(path), wanted, kind=SpeeDiffFileError)


def test_the_last_step_that_a_run_can_have_can_be_taken(file: bytes, path: Path) -> None:
    files.rewritten(file, path, **{"trainer.global_step": str(2**32 - 1)})
    drawn_by = sampler(sampling=ADAPTIVE, accumulation=2**20)
    with Trainer.load(path, sampler=drawn_by, threads=1) as trainer:
        assert np.isfinite(trainer.backward(images(1), labels(1)))
    with Trainer.load(path, threads=1) as trainer:
        trainer.step(images(), labels())
        assert trainer.global_step == 2**32
        trainer.save(path)
        refuses(lambda: trainer.step(images(), labels()), "^global_step must be below 4294967296", "another")
    with Trainer.load(path, threads=1) as trainer:
        assert trainer.global_step == 2**32
        refuses(lambda: trainer.step(images(), labels()), "^global_step")
        refuses(lambda: setattr(trainer, "global_step", 2**32 + 1), "^global_step must be at most 4294967296")
        trainer.global_step = 0
        trainer.step(images(), labels())


MUTATIONS = """
    import random, resource, sys
    from pathlib import Path
    import checkpoint_files as files
    import speediff
    path, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    file, rng = path.read_bytes(), random.Random(seed)
    header, data = files.split(file)
    checksum = files.xxh64(data)
    outcomes = {"refused": 0, "loaded": 0}
    for number in range(-50, count):
        if number == 0:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if number % 2:
            content = files.damaged(file, rng)
        else:
            content = files.joined(files.hostile(header, rng), data, checksum=checksum)
        path.write_bytes(content)
        try:
            speediff.Trainer.load(path, threads=1).close()
        except speediff.SpeeDiffError as error:
            assert not isinstance(error, speediff.SpeeDiffInternalError), error
            assert str(error)
            outcomes["refused"] += 1
        else:
            # Damage is found always; what was rewritten may still make sense.
            assert not number % 2 or content == file, number
            outcomes["loaded"] += 1
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert growth < 300 << 10, f"{growth} kB"
    print(outcomes["refused"], outcomes["loaded"])
"""


@pytest.mark.parametrize(
    "count", [1000, pytest.param(100_000, marks=pytest.mark.long)], ids=["a thousand", "a hundred thousand"]
)
def test_mutated_files_are_errors_or_runs_and_never_crash(count: int, file: bytes, path: Path) -> None:
    refused, loaded = map(int, in_a_child(MUTATIONS, str(path), str(count), "1", seconds=3600).split())
    print(f"{refused} refused, {loaded} loaded")
    assert refused > 0.8 * count
    assert loaded > 0


def test_a_checkpoint_of_pytorch_is_an_error_that_names_trainer_from(file: bytes, path: Path) -> None:
    weights = {"model": {"pos_embed": torch.zeros(4)}}
    foreign = path.with_name("model.pt")
    header, data = files.split(file)
    del header["__metadata__"]

    def expect(found: str, place: Path = foreign) -> None:
        parts = rf"^{place} must .* Trainer\.save", f"got {found}", r"speediff\.torch\.trainer_from\("
        refuses(lambda: Trainer.load(place), *parts, kind=SpeeDiffFileError)

    torch.save(weights, foreign)
    expect("a zip archive")
    torch.save(weights, foreign, _use_new_zipfile_serialization=False)
    expect("a pickle")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        foreign.write_bytes(pickle.dumps({"model": [1.0]}, protocol))
        expect("a pickle")
    foreign.write_bytes(files.joined(header, data))
    expect("a safetensors file of another program")
    folder = path.with_name("transformer")
    folder.mkdir()
    refuses(lambda: Trainer.load(folder), "must be a regular file, got a directory", kind=SpeeDiffFileError)
    (folder / "config.json").write_text("{}")
    expect("a folder of diffusers", folder)


def test_a_file_of_any_other_kind_is_refused_for_what_it_is(path: Path) -> None:
    for content in (b"", b"\x80", b"PK", b"\x80\x01" * 9, b"\x89PNG\r\n\x1a\n", b"{" * 9, b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(SpeeDiffFileError, match="must have") as caught:
            Trainer.load(path)
        assert "trainer_from" not in str(caught.value)


def test_a_program_that_knows_the_format_reads_the_file(file: bytes) -> None:
    header, data = files.split(file)
    assert header["__metadata__"]["format"] == "pt"
    assert json.loads(header["__metadata__"]["note"])["sampler"]["sampling"]["name"] == "adaptive"
    entry = header["y_embedder.embedding_table.weight"]
    assert entry["shape"] == [CLASSES + 1, 8]
    assert np.isfinite(np.frombuffer(data[slice(*entry["data_offsets"])], np.float32)).all()

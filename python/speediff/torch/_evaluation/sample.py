"""A set of images to measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._data.raw import Labels
    from .extractor import Bytes, Extractor
    from .metrics import Array


class Sample:
    """A set of images to measure. What is not needed is not extracted."""

    def __init__(
        self,
        extractor: Extractor,
        images: Bytes | None,
        labels: Labels | None = None,
        captions: Sequence[str] | None = None,
        *,
        features: Array | None = None,
        with_logits: bool,
    ) -> None:
        """Extracts the features and, with `with_logits`, the logits.

        Args:
            extractor: What extracts them.
            images: The images; None: only their features are known.
            labels: The class that each should show.
            captions: What each should show.
            features: Their features, if they are known.
            with_logits: Whether a measure needs logits.
        """
        self._labels = labels
        self._logits: Array | None = None
        self.captions = captions
        if features is not None:
            self.features = features
            if with_logits and images is not None:
                self._logits = extractor.logits(images)
            return
        assert images is not None
        if with_logits:
            self.features, self._logits = extractor.both(images)
        else:
            self.features = extractor.features(images)

    @property
    def logits(self) -> Array:
        """Their logits, (n, classes)."""
        assert self._logits is not None
        return self._logits

    @property
    def labels(self) -> Labels:
        """The class that each should show."""
        assert self._labels is not None
        return self._labels


def check_labels(labels: Labels | None, extractor: Extractor, what: str = "the images") -> None:
    """Raises unless the accuracy can be computed: labels are there, and each is one of the classes."""
    if labels is None:
        raise SpeeDiffValueError(f"labels must be given for the accuracy of {what}")
    classes = len(extractor.classes or ())
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        index = int(wrong.argmax())
        raise SpeeDiffValueError(f"labels must be in [0, {classes}), got {labels[index]} for image {index}")

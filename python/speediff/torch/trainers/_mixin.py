"""A base class that must come before the trainer's own."""

from __future__ import annotations

from typing import Any

from ...errors import SpeeDiffTypeError


class FirstBase:
    """A mixin whose methods extend those of the bases after it.

    Behind a trainer's class it would be passed over, and the trainer would draw as before without a word.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Checks the order of the bases.

        Raises:
            SpeeDiffTypeError: If a class before the mixin has a method of the same name.
        """
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        for mixin in (base for base in order if FirstBase in base.__bases__):
            hooks = {name for name in vars(mixin) if not name.startswith("_")}
            earlier = [base for base in order[: order.index(mixin)] if not issubclass(base, mixin)]
            if any(hooks & set(vars(base)) for base in earlier):
                names = [base.__name__ for base in cls.__bases__]
                first = [mixin.__name__, *(name for name in names if name != mixin.__name__)]
                raise SpeeDiffTypeError(
                    f"{mixin.__name__} must be the first base of {cls.__name__}, got ({', '.join(names)}); "
                    f"write class {cls.__name__}({', '.join(first)})"
                )

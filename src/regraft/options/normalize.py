"""What the step `normalize` may be told: how an image is fitted to the square the backbone takes."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from regraft.images.preprocessing import Preprocessing
from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.backbones.spec import InputContract


class NormalizeOptions(Options):
    """Size and fit; interpolation, mean and std always are those of the backbone's pretraining.

    Attributes:
        fit: `crop` cuts the centre out as in pretraining; `stretch` changes the aspect ratio and loses nothing;
            `pad` keeps both with black borders.
        size: Pixels a side; null takes that of the pretraining.
    """

    fit: Literal["crop", "stretch", "pad"]
    size: Annotated[int, Field(ge=32, le=1024)] | None

    def preprocessing(self, contract: "InputContract") -> Preprocessing:
        """The backbone's input contract, fitted as these options say."""
        size = self.size or contract.size
        return Preprocessing(
            size=size,
            resize_size=round(size * contract.resize_size / contract.size),
            fit=self.fit,
            interpolation=contract.interpolation,
            mean=contract.mean,
            std=contract.std,
        )

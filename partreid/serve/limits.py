"""What one request, and all of them together, may ask for."""

from dataclasses import dataclass

from partreid.utils.arguments import check_fields, integer, number
from partreid.utils.files import MIB


@dataclass(frozen=True)
class Limits:
    """Bounds that hold before memory is taken.

    Args:
        body: Bytes of a request.
        held: Bytes of all requests that are under way.
        seconds: In which a request must have arrived.
        pixels: Of a picture, which its header says before anything is decoded.
        crops: Pictures of a request.
        waiting: Pictures that wait for the model.
        top: Answers to a search.
        idle: Seconds after which a connection without a request is closed.

    Raises:
        ArgumentError: One of them is not above 0.
    """

    body: int = 16 * MIB
    held: int = 128 * MIB
    seconds: float = 60.0
    pixels: int = 2**24  # 4096 x 4096, 48 MiB of RGB: a crop is a thousandth of it
    crops: int = 32
    waiting: int = 256
    top: int = 100
    idle: int = 15

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("body", "held", "pixels", "crops", "waiting", "top", "idle"):
            integer(f"the limit {name}", getattr(self, name), 1)
        number("the limit seconds", self.seconds, 0, open_=True)

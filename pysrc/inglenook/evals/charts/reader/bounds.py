"""What has an upright box in a picture: its middle and its size, in pixels."""


class Bounds:
    """`right` and `bottom` are exclusive."""

    __slots__ = ()

    left: float
    top: float
    right: float
    bottom: float

    @property
    def x(self) -> float:
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

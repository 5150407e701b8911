"""Why a scene could not be rendered, as a typed reason that ends up in the failures table."""

from __future__ import annotations

from pipeline.failures import ItemError


class RenderError(ItemError):
    """A scene that would fail again if tried again: `reason` is a short fixed word, the message one line.

    Reasons: `missing-asset`, `changed-asset`, `unsafe-path`, `corrupt-asset`, `missing-texture`,
    `bad-environment`, `unknown-generator`, `bad-spec`, `bad-image`, `render-error`, `device`.
    `log_tail` is the end of what Blender printed.
    """

    def __init__(self, reason: str, message: str, log_tail: str = "") -> None:
        super().__init__(reason, message)
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[type[RenderError], tuple[str, str, str]]:  # type: ignore[override]
        """Keep all three arguments when the error crosses a process boundary."""
        return RenderError, (self.reason, str(self), self.log_tail)

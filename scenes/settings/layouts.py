"""The settings by name, each with the function that lays it out."""

from __future__ import annotations

from collections.abc import Callable

from scenes.settings.laying_out import Layout, SettingDraws

LAYOUTS: dict[str, Callable[[SettingDraws], Layout | None]] = {}

"""The settings by name, each with the function that lays it out."""

from __future__ import annotations

from collections.abc import Callable

from scenes.settings.setting_layout import SettingDraws, SettingLayout
from scenes.settings.street import lay_out_street

LAYOUTS: dict[str, Callable[[SettingDraws], SettingLayout | None]] = {
    "street": lay_out_street,
}

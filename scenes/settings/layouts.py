"""The settings by name, each with the function that lays it out."""

from __future__ import annotations

from collections.abc import Callable

from scenes.settings.interior import room
from scenes.settings.setting_layout import SettingDraws, SettingLayout
from scenes.settings.street import lay_out_street
from scenes.settings.terrain import terrain

LAYOUTS: dict[str, Callable[[SettingDraws], SettingLayout | None]] = {
    "room": room,
    "terrain": terrain,
    "street": lay_out_street,
}

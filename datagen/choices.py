"""What a user may choose by name, for the stage and for the command line alike; importing it costs nothing."""

from __future__ import annotations

from typing import Literal

Codec = Literal["compact", "exact"]
DeviceKind = Literal["auto", "OPTIX", "CUDA", "HIP", "METAL", "ONEAPI", "CPU"]

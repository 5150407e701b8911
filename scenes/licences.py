"""Licences of assets: SPDX ids, what they demand, and the policy that decides which assets may be sampled.

An id that is not in `TERMS` counts as unknown, so a new licence is left out until somebody has read it.
"""

from __future__ import annotations

from scenes.spec import SpecData

UNKNOWN = "unknown"


class Terms(SpecData, frozen=True, kw_only=True):
    """What a licence demands of somebody who renders the asset and shares the images."""

    attribution: bool = True
    share_alike: bool = False
    non_commercial: bool = False
    no_derivatives: bool = False


_FREE = Terms(attribution=False)
_BY = Terms()
_SHARE_ALIKE = Terms(share_alike=True)

TERMS: dict[str, Terms] = {
    "CC0-1.0": _FREE,
    "0BSD": _FREE,
    "Unlicense": _FREE,
    "MIT-0": _FREE,
    "MIT": _BY,
    "Apache-2.0": _BY,
    "BSD-2-Clause": _BY,
    "BSD-3-Clause": _BY,
    "Zlib": _BY,
    "ISC": _BY,
    "GPL-2.0-only": _SHARE_ALIKE,
    "GPL-2.0-or-later": _SHARE_ALIKE,
    "GPL-3.0-only": _SHARE_ALIKE,
    "GPL-3.0-or-later": _SHARE_ALIKE,
    "LGPL-2.1-or-later": _SHARE_ALIKE,
    "LGPL-3.0-or-later": _SHARE_ALIKE,
    "MPL-2.0": _SHARE_ALIKE,
    "LAL-1.3": _SHARE_ALIKE,
} | {
    f"CC-BY{suffix}-{version}": Terms(
        share_alike="SA" in suffix, non_commercial="NC" in suffix, no_derivatives="ND" in suffix
    )
    for suffix in ("", "-SA", "-ND", "-NC", "-NC-SA", "-NC-ND")
    for version in ("2.0", "2.5", "3.0", "4.0")
}

# Objaverse annotations carry Sketchfab's slugs; Sketchfab publishes under version 4.0 of the Creative Commons texts.
_SKETCHFAB = {
    "cc0": "CC0-1.0",
    "by": "CC-BY-4.0",
    "by-sa": "CC-BY-SA-4.0",
    "by-nd": "CC-BY-ND-4.0",
    "by-nc": "CC-BY-NC-4.0",
    "by-nc-sa": "CC-BY-NC-SA-4.0",
    "by-nc-nd": "CC-BY-NC-ND-4.0",
}
_CASE = {name.lower(): name for name in TERMS}


def from_sketchfab(word: object) -> str:
    """SPDX id of a Sketchfab or Objaverse licence word ("by", "by-nc-sa", "cc0" ...), else "unknown"."""
    if not isinstance(word, str):
        return UNKNOWN
    slug = word.strip().lower().removeprefix("cc-")
    return _SKETCHFAB.get(slug if slug != "0" else "cc0", UNKNOWN)


def normalise(expression: object) -> str:
    """An SPDX id, or ids joined by AND or OR, in its exact spelling; "unknown" if any id is not in `TERMS`."""
    if not isinstance(expression, str):
        return UNKNOWN
    words = expression.split()
    if not words or len(words) % 2 == 0 or len(set(words[1::2]) | {"AND", "OR"}) > 2 or len(set(words[1::2])) > 1:
        return UNKNOWN
    ids = [_CASE.get(word.lower()) for word in words[::2]]
    if None in ids:
        return UNKNOWN
    return f" {words[1] if len(words) > 1 else ''} ".join(str(name) for name in ids).strip()


class LicencePolicy(SpecData, frozen=True, kw_only=True):
    """Which licences may be sampled. The default leaves out nc, nd and unknown ones and takes share-alike ones."""

    non_commercial: bool = False
    no_derivatives: bool = False
    share_alike: bool = True
    unknown: bool = False

    def allows(self, licence: str) -> bool:
        """Whether an asset under `licence` (an SPDX id, ids joined by AND or OR, or "unknown") may be sampled."""
        if " OR " in licence:
            return any(self.allows(part) for part in licence.split(" OR "))
        if " AND " in licence:
            return all(self.allows(part) for part in licence.split(" AND "))
        terms = TERMS.get(licence)
        if terms is None:
            return self.unknown
        return (
            (self.non_commercial or not terms.non_commercial)
            and (self.no_derivatives or not terms.no_derivatives)
            and (self.share_alike or not terms.share_alike)
        )

"""Published figures, to be read beside ours, with what is and what is not comparable.

Source: DiffusionRenderer (Liang et al., CVPR 2025, arXiv 2501.18590) and its Cosmos update, and the methods that they
compare with, as reported there. Their benchmarks are made of Objaverse assets at 512x512 that are not published; ours
are made by the same recipe of our own test assets. Only differences between methods on one benchmark mean anything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published line: PSNR in dB, SSIM and LPIPS, or what `figures` says instead."""

    task: str
    method: str
    figures: str


FIGURES = (
    Published("forward, SyntheticObjects", "DiffusionRenderer", "28.3 / .935 / .048"),
    Published("forward, SyntheticObjects", "DiffusionRenderer without environment encoder", "27.8 dB"),
    Published("forward, SyntheticObjects", "RGB<->X", "25.2 / .896 / .077"),
    Published("forward, SyntheticObjects", "SSRT", "29.4 dB"),
    Published("forward, SyntheticScenes", "DiffusionRenderer", "26.0 / .780 / .201"),
    Published("forward, SyntheticScenes", "RGB<->X", "18.5 / .645 / .302"),
    Published("forward and relighting, SyntheticScenes", "DiffusionRenderer on Cosmos", "26.61 / .841 / .222"),
    Published("forward and relighting, SyntheticScenes", "UniRelight", "26.97 / .847 / .190"),
    Published("relighting, SyntheticObjects", "DiffusionRenderer", "27.5 dB"),
    Published("relighting, SyntheticScenes", "DiffusionRenderer", "24.63 / .756 / .257"),
    Published("relighting, SyntheticScenes", "DiLightNet", "18.88 / .576 / .344"),
    Published(
        "inverse, SyntheticScenes",
        "DiffusionRenderer",
        "albedo 26.0 dB; metallic RMSE .039; roughness RMSE .078",
    ),
    Published("inverse, SyntheticScenes", "its image model", "metallic RMSE .066; roughness RMSE .098"),
    Published("inverse, SyntheticScenes", "DiffusionRenderer on Cosmos", "albedo 28.56 dB"),
    Published("inverse, InteriorVerse", "DiffusionRenderer", "albedo 22.4 dB"),
)

COMPARABLE = """\
Comparable: the order of methods on one benchmark, the gap to a baseline that both sides measured (SplitSum stands in
for the rasterised baselines), and how much video adds to single frames (theirs: 41 % on metallic, 20 % on roughness).

Not comparable: the absolute numbers. Their assets are Objaverse's at 512x512 and are not published; ours are this
catalogue's test split at the size given above. Small pictures of plain materials are easier in PSNR, and a network of
this size has seen a thousandth of the data. LPIPS depends on size and backbone, and ST-LPIPS is another scale
altogether. Their base colour figure may be scale-invariant; ours is given both ways. Each clip's exposure is known to
every method here."""


def markdown() -> str:
    """The published figures as a Markdown table, with the note on what may be compared."""
    lines = ["| task | method | PSNR / SSIM / LPIPS, or as said |", "|---|---|---|"]
    lines += [f"| {line.task} | {line.method} | {line.figures} |" for line in FIGURES]
    return "\n".join(lines) + "\n\n" + COMPARABLE

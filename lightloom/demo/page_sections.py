"""The sections of the page as HTML: a short text for each stage, and what it made. Text from files is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from lightloom.demo.demo_commands import FILMS, SHIPPED, Chain
from lightloom.demo.demo_film import SUBJECT, read_cast
from lightloom.demo.loss_curves import Curve, loss_chart, read_curve
from lightloom.demo.page_videos import LARGEST, beside, data, player, read_film
from lightloom.stages import Record
from manifests.audit.stats import human_bytes
from manifests.codec.codecs import decode_clip
from manifests.contract.attributes import GBUFFERS
from manifests.contract.row import ClipRow
from manifests.report.charts import bars, number
from manifests.report.grids import grid
from manifests.store.dataset import open_dataset

OURS, PUBLISHED = "trained by this demo", "shipped weights"
_SHOWN = 4
_NAMES = {"basecolor": "base colour", "environment": "light"}


def summary(chain: Chain) -> str:
    """One line below the title."""
    minutes = chain.sizes.minutes
    trained = minutes.inverse + minutes.lighting + minutes.forward + minutes.cotraining
    return escape(
        f"preset {chain.sizes.name} · seed {chain.sizes.seed} · {chain.sizes.dataset.clips} clips rendered on this "
        f"machine · renderers trained for {trained:g} minutes in all · nothing downloaded"
    )


def totals(chain: Chain, records: Sequence[Record]) -> str:
    """The large figures."""
    seconds = sum(record.seconds for record in records)
    sets = [open_dataset(chain.out / name) for name in ("dataset", "plates", "benchmark/scenes", "benchmark/turns")]
    rendered = [row for dataset in sets for row in dataset.rows()]
    labelled = open_dataset(chain.out / "labelled").rows()
    figures = [
        (f"{seconds / 60:.1f} min", "from nothing to this page"),
        (number(len(rendered)), "clips rendered"),
        (number(sum(row.frames for row in rendered)), "frames, path-traced"),
        (number(len(labelled)), "clips labelled"),
        ("4", "trainings"),
        (number(len(records)), "commands"),
    ]
    return "".join(f'<div class="figure"><b>{escape(value)}</b><span>{label}</span></div>' for value, label in figures)


def result(chain: Chain) -> str:
    """The relit video, first of all."""
    relight = chain.sizes.relight
    text = (
        "Left, a video that no renderer has seen, of things from the test split. Beside it the same video under the "
        f"light of {escape(relight.env.replace('_', ' '))}, which turns by {relight.rotate:g} degrees. Nothing but the "
        "mp4 was given: base colour, normals, depth, roughness and metalness were estimated from it, and rendered "
        "again by a network."
    )
    note = (
        "The renderers of this demo learned for minutes, and look like it. With more time they look better: see the "
        "last section."
    )
    if has_shipped(chain):
        note = (
            "The renderers of this demo learned for minutes, and look like it; beside theirs is what the weights that "
            "come with Lightloom make of the same video, by the same command."
        )
    return f'<p class="lead">{text} {note}</p>' + _films(chain, "relight", "Relit", "")


def dataset(chain: Chain, records: Sequence[Record]) -> str:
    """Some clips of the training set with their truth."""
    opened = open_dataset(chain.out / "dataset")
    rows = opened.rows()
    size = human_bytes(sum(row.size for row in rows))
    text = (
        f"{len(rows)} scenes, each drawn from a seed: things of the built-in catalogue on a ground, a light all "
        f"around, and motions. Cycles traces the picture, and in the same pass everything that explains it. {size} on "
        "disk, as WebDataset shards with a Parquet manifest. Every clip carries the spec from which it can be rendered "
        "again."
    )
    link = '<a href="dataset/report.html">the page of the dataset</a>'
    after = f'<p class="note">More of it, with histograms and licences: {link}.</p>'
    return (
        f'<p class="lead">{text}</p>{_line(records, "dataset")}<div class="clips">'
        + "".join(_clip(chain, "dataset", row) for row in _spread(rows, _SHOWN))
        + f"</div>{after}"
    )


def training(chain: Chain, records: Sequence[Record]) -> str:
    """The three trainings on rendered clips: loss curves, and the last sample grid of each."""
    text = (
        "The inverse renderer sees a video and says what it is made of. The lighting estimator sees the video and says "
        "where light came from. The forward renderer is given both and makes the video. Small networks of our own; "
        "the forward one starts from analytic shading with traced shadows, and learns what that lacks."
    )
    names = ("inverse", "forward", "lighting")
    curves = {name: read_curve(chain.out / name / "logs") for name in names}
    figures = "".join(_curve(name, curves[name], minutes_of(records, name)) for name in names)
    samples = "".join(
        _sample(curves[name], *words)
        for name, words in (
            (
                "inverse",
                ("11/4", "picture; base colour, normal, depth, roughness and metallic, each estimated, then true"),
            ),
            ("forward", ("6/4", "base colour, true picture, rendered picture")),
            ("lighting", ("4/4", "light of two clips, low and high range: estimated, true")),
        )
    )
    lines = "".join(_line(records, name) for name in names)
    return (
        f'<p class="lead">{text}</p>{lines}<div class="charts">{figures}</div><div class="samples">{samples}</div>'
        '<p class="note">Samples are of training clips, at the end of the training.</p>'
    )


def footage(chain: Chain, records: Sequence[Record]) -> str:
    """Labelled clips, with confidences."""
    rows = open_dataset(chain.out / "labelled").rows()
    text = (
        "Real videos have no truth, so the inverse renderer labels them, and what it says becomes a dataset like any "
        "other. Here the footage is rendered too, so that the demo needs none, but it is given as mp4 files: labels, "
        "light and camera are estimates and assumptions. Each has a confidence, from whether labels agree with those "
        "of the mirrored video, of a part of it, and with the picture when they are rendered."
    )
    names = list(dict.fromkeys(name for row in rows for name in row.confidence))
    means = {_NAMES.get(name, name): sum(row.confidence.get(name, 0.0) for row in rows) / len(rows) for name in names}
    chart = (
        '<div class="charts"><figure class="chart"><figcaption><b>Confidence</b> mean over the labelled clips, 0 to 1'
        f"</figcaption>{bars(means)}</figure></div>"
    )
    clips = "".join(_clip(chain, "labelled", row) for row in _spread(rows, 2))
    return f'<p class="lead">{text}</p>{_line(records, "label")}<div class="clips">{clips}</div>{chart}'


def cotraining(chain: Chain, records: Sequence[Record]) -> str:
    """The LoRA's training."""
    text = (
        "Every step takes rendered clips, which train the network, and footage, which also trains a LoRA that no "
        "rendered clip sees; footage weighs as much as its labels are trusted. The LoRA takes up how footage looks and "
        "what its labels get wrong, and its strength is chosen when rendering."
    )
    logs, minutes = chain.out / "cotrained" / "logs", minutes_of(records, "cotrained")
    parts = {"rendered clips": read_curve(logs, "rgb.l1"), "footage, with the LoRA": read_curve(logs, "real.rgb.l1")}
    figures = "".join(_curve(name, curve, minutes) for name, curve in parts.items())
    return f'<p class="lead">{text}</p>{_line(records, "cotrained")}<div class="charts">{figures}</div>'


def edits(chain: Chain, records: Sequence[Record]) -> str:
    """G-buffers of the video, comparison of lights, another material, and an inserted object."""
    sizes, cast = chain.sizes, read_cast(chain.out)
    maps = {"video": chain.out / SUBJECT}
    parts = [_header("What the inverse renderer sees in the video"), '<div class="clips">']
    for folder in _folders(chain):
        gbuffers = chain.out / "films" / folder / "gbuffers"
        shown = maps | {_NAMES.get(name, name): gbuffers / f"{name}.mp4" for name in GBUFFERS}
        _, fps = read_film(chain.out / SUBJECT)
        parts.append(_player(shown, fps, PUBLISHED if folder else OURS, "", 3))
    text = f"One command, several lights: {', '.join(name.replace('_', ' ') for name in sizes.relight.compare)}."
    parts += ["</div>", _header("The same video under other lights"), f'<p class="lead">{escape(text)}</p>']
    parts += [_line(records, "compare"), '<div class="clips">']
    for folder in _folders(chain):
        film = chain.out / "films" / folder / "compare.mp4"
        parts.append(_player({"": film}, read_film(film)[1], PUBLISHED if folder else OURS, "top left: the video", 1))
    picked = f"what lies at pixel {cast.pick[0]}, {cast.pick[1]} gets {', '.join(sizes.edit.video)}"
    made = (
        f"instance {cast.instance} of the rendered clip behind the video gets {', '.join(sizes.edit.clip)}; its true "
        "G-buffers, camera and light are used, as an artist has them for a rendered plate"
    )
    name = sizes.insert.asset.removeprefix("builtin/mesh/")
    parts += ["</div>", _header("Another colour, in the video"), _line(records, "edit")]
    parts.append(_films(chain, "edit", "Edited", f"{picked}; all else is the video"))
    parts += [_header("Another material, with what a renderer knows"), _line(records, "remake")]
    parts.append(_films(chain, "remake", "Edited", made))
    stands = (
        f"{name} stands at pixel {cast.stand[0]}, {cast.stand[1]} of the same clip; Blender gives its G-buffers, "
        "and the forward renderer its look, its reflections and its shadow"
    )
    parts += [
        _header("An object that was not there"),
        _line(records, "insert"),
        _films(chain, "insert", "Inserted", stands),
    ]
    return "".join(parts)


def time(records: Sequence[Record]) -> str:
    """Seconds of every command, and the commands."""
    seconds = {record.title: round(record.seconds, 1) for record in records}
    again = [record.title for record in records if record.starts > 1]
    note = (
        f"Started more than once: {', '.join(again)}; time of a start that was killed is not counted." if again else ""
    )
    rows = "".join(
        f"<tr><td>{index}</td><td>{escape(record.title)}</td><td class=number>{record.seconds:.1f}</td>"
        f"<td><code>{escape(record.line)}</code></td></tr>"
        for index, record in enumerate(records, 1)
    )
    return (
        f'<p class="lead">{len(records)} commands, {sum(seconds.values()) / 60:.1f} minutes in all, each with the '
        f"start of a process. {escape(note)}</p>"
        f'<div class="charts"><figure class="chart"><figcaption><b>Seconds</b> by stage</figcaption>'
        f"{bars(seconds, most=len(seconds), unit=' s')}</figure></div>"
        '<div class="table"><table><thead><tr><th></th><th>stage</th><th class=number>s</th><th>command</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def what_next(chain: Chain) -> str:
    """Where a newcomer goes from here."""
    own = "".join(
        f'<pre class="line">$ {escape(line)}</pre>'
        for line in (
            "lightloom demo --preset small --out out/small",
            f"lightloom relight VIDEO.mp4 --env courtyard --rotate 360 --out relit.mp4 {' '.join(chain.weights()[:4])}",
            "lightloom datagen plan --recipe paper --clips 150000",
        )
    )
    text = (
        "The same chain with an afternoon to learn; a video of yours; and what a training set of the published size "
        "would cost on this machine. What was made here stays: "
        f"the data in {chain.at('dataset')}, the renderers in {chain.at('*/renderer')}, the numbers in "
        f"{chain.at('evaluation/report.md')}."
    )
    return f'<p class="lead">{escape(text)}</p>{own}'


def has_shipped(chain: Chain) -> bool:
    """Whether this demo also used the weights that come with Lightloom."""
    return all((chain.out / "films" / SHIPPED / f"{kind}.mp4").is_file() for kind in FILMS)


def _folders(chain: Chain) -> list[str]:
    return ["", SHIPPED] if has_shipped(chain) else [""]


def _films(chain: Chain, kind: str, title: str, text: str) -> str:
    """The video before and after, by this demo's renderers and by the shipped ones."""
    before = chain.out / SUBJECT
    films = {"before": before}
    for folder in _folders(chain):
        films[PUBLISHED if folder else OURS] = chain.out / "films" / folder / f"{kind}.mp4"
    shown = _player(films, read_film(before)[1], title, text, 0, "result")
    return f'<div class="clips wide">{shown}</div>'


def _player(films: Mapping[str, Path], fps: float, title: str, text: str, columns: int, kind: str = "") -> str:
    video = beside({name or "film": path for name, path in films.items()}, columns, LARGEST if columns != 1 else 640)
    frames = len(read_film(next(iter(films.values())))[0])
    if list(films) == [""]:
        video = type(video)(video.video, video.poster, video.width, video.height, 1, 1, ())
    return player(video, frames, fps, title, text, kind)


def _clip(chain: Chain, folder: str, row: ClipRow) -> str:
    """A clip of a dataset with its G-buffers."""
    opened = open_dataset(chain.out / folder)
    clip = decode_clip(row.key, opened.files(row))
    facts = ", ".join(motion.replace("_", " ") for motion in row.motions)
    return player(grid(clip), row.frames, row.fps, row.key, facts)


def minutes_of(records: Sequence[Record], name: str) -> float:
    """Minutes that a stage took."""
    return sum(record.seconds for record in records if record.name == name) / 60


def _curve(name: str, curve: Curve, minutes: float) -> str:
    steps = f"{curve.steps[-1]:.0f} steps, " if len(curve.steps) else ""
    caption = f"<b>{escape(name)}</b> loss; {steps}{minutes:.1f} minutes with start-up"
    return f'<figure class="chart"><figcaption>{caption}</figcaption>{loss_chart(curve)}</figure>'


def _sample(curve: Curve, aspect: str, words: str) -> str:
    """The upper rows of a run's sample grid."""
    if curve.picture is None:
        return ""
    image = f'<img alt="samples" style="aspect-ratio:{aspect}" src="{data("image/webp", curve.picture)}">'
    return f"<figure>{image}<figcaption>{escape(words)}</figcaption></figure>"


def _line(records: Sequence[Record], name: str) -> str:
    line = next((record.line for record in records if record.name == name), None)
    return f'<pre class="line">$ {escape(line)}</pre>' if line else ""


def _header(words: str) -> str:
    return f'<h3 class="words">{escape(words)}</h3>'


def _spread[Item](items: Iterable[Item], most: int) -> list[Item]:
    found = list(items)
    return found if len(found) <= most else [found[index * len(found) // most] for index in range(most)]

"""The places of a page's panels, with their titles; the script draws what is in them."""

from zoo.telemetry.page.bilingual import both, escaped, of_text
from zoo.telemetry.page.told import Told

NOTHING = 0.005  # a share that is told as 0 %
OF_THE_LOSS = ("epoch", "loss", "learning_rate")


def cursor_section(told: Told) -> str:
    """Return the one cursor, a step and a layer, and what it tells."""
    if not told.recorded:
        return ""
    options = "".join(f'<option value="{i}">{escaped(name)}</option>' for i, name in enumerate(told.layers))
    chooser = f'<label>{both("layer")} <select id="layer">{options}</select></label>' if options else ""
    marks = '<div class="marks" id="marks"></div>' if told.steps is not None else ""
    return (
        f'<section class="cursor-bar"><div class="bar controls"><label for="cursor">{both("optimizer step")}</label>'
        f'<input type="range" id="cursor" min="0" max="0" value="0">{chooser}</div>'
        f'<output id="where" for="cursor" aria-live="polite"></output>{marks}</section>'
    )


def map_section(told: Told) -> str:
    """Return the place of the map of layers by steps."""
    if not told.layers:
        return ""
    choices = "".join(f'<option value="{name}">{name}</option>' for name in _measures(told))
    return (
        f'<section id="layers"><div class="bar"><h2>{both("layers by steps")}</h2>'
        f'<label class="controls">{both("show")} <select id="measure">{choices}</select></label>'
        '<span id="scale" class="soft push"><span class="low"></span> <span class="scale"></span> '
        f'<span class="high"></span> · {both("hatched: not finite")} · {both("grey: zero")}</span></div>'
        '<div class="map" id="map" tabindex="0" role="group"></div><p class="soft controls">'
        f"<small>{both('press or drag to move the cursor; arrow keys move it too')}</small></p></section>"
    )


def _measures(told: Told) -> dict[str, tuple[str, str]]:
    """What there is against depth: for each its title and its unit."""
    probe = {
        "delta": (both("back-propagated gradient (delta)"), both("L2 norm, per sample")),
        "activation": (both("activations"), both("root mean square")),
    }
    unit = both("L2 norm") if told.steps is not None else both("L2 norm, probe batch")
    found = {"gradient": (both("weight gradient"), unit)} | (probe if told.probed is not None else {})
    if told.steps is not None and told.steps.update_norms is not None:
        found["update"] = (both("update ratio"), both("change over weight norm, of a step"))
    return found


def profiles_section(told: Told) -> str:
    """Return the places of the profiles against depth."""
    if not told.layers:
        return ""
    panels = "".join(_profile(name, *words) for name, words in _measures(told).items())
    legend = '<div class="legend" id="profile-legend"></div>'
    return (
        f'<section id="profiles"><div class="bar"><h2>{both("against depth")}</h2>{legend}</div>'
        f'<div class="panels">{panels}</div></section>'
    )


def _profile(name: str, title: str, unit: str) -> str:
    return f'<figure id="{name}">{_caption(f"{title} <small>{unit}</small>")}<div class="chart"></div></figure>'


def _caption(told: str) -> str:
    return f"<figcaption>{told}</figcaption>"


def along_section(told: Told) -> str:
    """Return the places of recurrent cells against time."""
    words = {
        "delta": (both("gradient that comes back"), both("L2 norm, per sample")),
        "activation": (both("state"), both("root mean square")),
    }
    panels = "".join(
        _profile(f"along-{i}-{measure}", f"{escaped(cell.layer)}: {title}", unit)
        for i, cell in enumerate(told.probed.along if told.probed is not None else ())
        for measure, (title, unit) in words.items()
    )
    return f'<section><h2>{both("against time")}</h2><div class="panels">{panels}</div></section>' if panels else ""


def courses_section(told: Told) -> str:
    """Return the places of loss, metrics, rate and norm against the steps."""
    metrics = [name for name in told.epochs if name not in OF_THE_LOSS and not name.startswith("val_")]
    titles = {"loss": both("loss")} if told.steps is not None or "loss" in told.epochs else {}
    titles |= {name: of_text(name) for name in metrics}
    titles |= {"learning_rate": both("learning rate")} if "learning_rate" in told.epochs else {}
    titles |= {"norm": both("gradient norm over all layers")} if told.steps is not None else {}
    if not titles:
        return ""
    panels = "".join(
        f'<figure>{_caption(title)}<div class="chart" data-name="{escaped(name)}"></div></figure>'
        for name, title in titles.items()
    )
    signs = both("× not finite   ▲ leaps to more than ten times what is usual   ┃ clipping begins")
    legend = '<div class="legend" id="course-legend"></div>'
    return (
        f'<section id="courses"><div class="bar"><h2>{both("training")}</h2>{legend}</div>'
        f'<p class="soft"><small>{signs}</small></p><div class="panels">{panels}</div></section>'
    )


def shares_section(told: Told) -> str:
    """Return the places of dead and saturated shares; a sentence in the place of a map of nothing."""
    if told.probed is None:
        return ""
    known = bool((told.probed.activation == told.probed.activation).all())
    highest = {name: _highest(getattr(told.probed, name)) for name in ("dead", "saturated")}
    drawn = [name for name, share in highest.items() if share >= NOTHING or not known]
    titles = {"dead": both("dead units"), "saturated": both("saturated values")}
    panels = "".join(
        f"<figure>{_caption(f'{titles[name]}: {_at_most(highest[name])}')}"
        f'<div class="map" data-name="{name}"></div></figure>'
        for name in drawn
    )
    sentences = {
        ("dead",): both("No value is saturated at any probe."),
        ("saturated",): both("No unit is dead at any probe."),
        (): both("No unit is dead and no value saturated, at any probe."),
    }
    nothing = f"<p>{sentences[tuple(drawn)]}</p>" if tuple(drawn) in sentences else ""
    axes = both("share of the layer, by epochs; 0 is before training")
    note = f'<p class="soft"><small>{axes}</small></p>' if panels else ""
    return (
        f'<section id="shares"><h2>{both("dead and saturated")}</h2>{nothing}{note}'
        f'<div class="panels">{panels}</div></section>'
    )


def _highest(shares) -> float:
    return float(max(shares[shares == shares], default=0.0))


def _at_most(share: float) -> str:
    return both("at most {share:.0f} %", share=100 * share)


def numbers_section(told: Told) -> str:
    """Return the place of the numbers at the cursor, for who reads them rather than looks at lines."""
    if not told.layers:
        return ""
    return (
        f"<section><details><summary>{both('numbers of every layer at the cursor')}</summary>"
        '<div class="wide"><table id="numbers"><thead></thead><tbody></tbody></table></div></details></section>'
    )

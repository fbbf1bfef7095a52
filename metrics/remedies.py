"""What may mend what goes wrong: REMEDIES, a table of the options that a run may or may not have."""

from collections.abc import Callable, Mapping

from metrics.detectors import DETECTORS

Settings = Mapping[str, object]  # a run's whole configuration, sections within sections
Remedy = Callable[[Settings], str]  # in words; "" where the run has no such option, or where it would change nothing

OFF = (0, "", "none", "off", [], ())  # and False, which is 0
WON = "won"  # of a discriminator, by its losses; the other ills are those of DETECTORS
SAID = {WON: "the generator learns next to nothing from it"}
R1_START, R1_SIDE = 0.1, 64  # method.r1_weight that configs/demo_modern.yaml has, and its data.size
RUINED = ("constant", "mode_collapse")  # ills from which training hardly comes back


def lower(key: str, zero: str = "lowest") -> Remedy:
    """Args: zero: what 0 or none means: "lowest", so that nothing is lower, or "default"."""

    def remedy(settings: Settings) -> str:
        known, value = _find(settings, key)
        if not known or (zero == "lowest" and value in OFF):
            return ""
        return f"a lower {key}" + ("" if value is None or value in OFF else f" (now {value})")

    return remedy


def higher(key: str, start: str = "") -> Remedy:
    """Args: start: a value to begin with, where it is 0."""

    def remedy(settings: Settings) -> str:
        known, value = _find(settings, key)
        if known and start and not value:
            return f"{key}={start}"
        return f"a higher {key} (now {value})" if known else ""

    return remedy


def switch_on(key: str, example: str = "") -> Remedy:
    def remedy(settings: Settings) -> str:
        known, value = _find(settings, key)
        return f"{key}{example}" if known and (value is None or value in OFF) else ""

    return remedy


def _resize(settings: Settings) -> str:
    """Where transposed convolutions draw it."""
    transposed = _find(settings, "method.generator.upsample")[1] == "transposed"
    return "method.generator.upsample=resize" if transposed else ""


def _identity(settings: Settings) -> str:
    """FastCUT has no paintings' part, without which a weight of it is nothing."""
    known, value = _find(settings, "method.nce_identity")
    return "method.nce_identity=true" if known and not value else higher("method.identity_weight", "1")(settings)


def _r1(settings: Settings) -> str:
    """Which a critic does not have, whose slope is held anyway. The slope is of the whole picture: with twice the side
    each pixel's is half as steep, and R1 a quarter (docs/recipes.md)."""
    critic = _find(settings, "method.adversarial")[1] == "wgan-gp"
    side = _find(settings, "data.size")[1] or R1_SIDE
    start = f"{R1_START * (side / R1_SIDE) ** 2:.2g}"
    return "" if critic else higher("method.r1_weight", start)(settings)


REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "constant": (lower("method.learning_rate"), switch_on("method.diffaugment", "=[translation,cutout]")),
    "identity": (
        lower("method.identity_weight"),
        lower("method.cycle_weight"),
        lower("method.nce_weight"),
        higher("method.style_weight"),
    ),
    "colour_inversion": (_identity,),
    "mode_collapse": (lower("method.learning_rate"), switch_on("method.diffaugment", "=[translation,cutout]")),
    "checkerboard": (_resize,),
    WON: (
        switch_on("method.diffaugment", "=[translation,cutout]"),
        _r1,
        lower("method.discriminator_rate", zero="default"),
        lower("method.nce_weight"),
    ),
}


def advice(settings: Settings) -> dict[str, str]:
    """By ill, a sentence for the log: what it is, and what of this run's options may mend it."""
    return {key: _sentence(key, settings) for key in REMEDIES}


def _sentence(key: str, settings: Settings) -> str:
    said = SAID[key] if key in SAID else f"the method {DETECTORS[key].said}"
    words = [word for remedy in REMEDIES[key] if (word := remedy(settings))]
    if words:
        *most, last = words
        said += f"; what may help in a new run: {', '.join(most)}{' or ' if most else ''}{last}"
    _, best = _find(settings, "checkpoints.keep_best")
    return said + ("; checkpoints/best.pt may be from before" if key in RUINED and best else "")


def _find(settings: Settings, key: str) -> tuple[bool, object]:
    """Whether there is an option of this dotted name, and its value."""
    found: object = settings
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return False, None
        found = found[part]
    return True, found

"""Learning-rate factors: what the initial rate is multiplied by."""


def constant_then_linear(place: int, constant: int, decay: int) -> float:
    """1 for the first `constant` units, then linearly down over `decay` units.

    `place` counts units (epochs or steps) from 0. The last unit still moves: the factor would reach 0 one unit
    after the end, as in CycleGAN's reference code (epochs 101, 150, 200 of 100 + 100 at 2e-4 train at
    1.9802e-4, 1.0099e-4, 1.98e-6).
    """
    return 1.0 - max(0, place + 1 - constant) / (decay + 1)

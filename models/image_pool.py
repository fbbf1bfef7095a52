"""A history of generated pictures for the discriminator (Shrivastava et al. 2017; CycleGAN, Sec. 4)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from data.batch import Places


@dataclass
class Lane:
    """The history of one place: its pictures, each [3, H, W], and how many have passed it."""

    pictures: list[Tensor] = field(default_factory=list)
    passed: int = 0


class ImagePool(nn.Module):
    """Keeps up to `size` generated pictures and mixes them into what the discriminator is shown.

    Until it is full it stores every picture and returns it. Then, with probability one half, it returns a
    stored picture and puts the new one in its place; else it returns the new one. A module, so that the pictures are
    part of the method's state_dict.

    Of a whole batch of several pictures each place has a lane of its own, a pool of size / batch pictures (places
    beyond `size` have none): so it makes no difference how many processes share the batch, and nothing need be sent
    between them. With a batch of one it is the pool of the paper.

    Args:
        purpose: what its draws are for; pools of one method must differ.
    """

    def __init__(self, size: int = 50, purpose: str = "pool"):
        super().__init__()
        self.size = size
        self.purpose = purpose
        self.total = 0  # places, of the last batch
        self.lanes: dict[int, Lane] = {}
        self.filled: set[int] = set()  # places whose lanes this process has changed since it has read others'

    def forward(self, generated: Tensor, places: Places) -> Tensor:
        """Shape: [N, 3, H, W] -> the same; the result carries no gradient."""
        if places.total != self.total:
            self._deal(places.total)
        draws = places.uniform(self.purpose, 2).tolist()
        rows = zip(generated.detach(), places, draws, strict=True)
        return torch.stack([self._exchange(picture, place, *drawn) for picture, place, drawn in rows])

    def _exchange(self, picture: Tensor, place: int, coin: float, chance: float) -> Tensor:
        lane, room = self.lanes.setdefault(place, Lane()), self._room(place)
        lane.passed += 1
        self.filled.add(place)
        if room == 0:
            return picture
        # A step whose pictures are not finite moves nobody; nor shall the steps after it see them.
        kept = picture.nan_to_num(0.0, 1.0, -1.0)
        if len(lane.pictures) < room:
            lane.pictures.append(kept)
            return picture
        if coin < 0.5:
            return picture
        slot = int(chance * room)
        stored, lane.pictures[slot] = lane.pictures[slot], kept
        return stored.to(picture.device)  # a checkpoint brings pictures back on the CPU

    def _room(self, place: int) -> int:
        """Pictures that a place's lane can keep."""
        return self.size // self.total + (place < self.size % self.total)

    def _deal(self, total: int) -> None:
        """The whole batch has another size: deal the pictures out to the new lanes in turn."""
        old = [self.lanes[place].pictures for place in sorted(self.lanes)]
        longest = max(map(len, old), default=0)
        pictures = [lane[i] for i in range(longest) for lane in old if i < len(lane)]
        self.total, self.lanes = total, {place: Lane() for place in range(min(total, self.size))}
        self.filled = set(self.lanes)
        for number, picture in enumerate(pictures):
            lane = self.lanes[number % len(self.lanes)]
            if len(lane.pictures) < self._room(number % len(self.lanes)):
                lane.pictures.append(picture)

    def get_extra_state(self) -> dict:
        lanes = {place: {"pictures": list(lane.pictures), "passed": lane.passed} for place, lane in self.lanes.items()}
        return {"total": self.total, "lanes": lanes}

    def own_extra_state(self) -> dict:
        """Of the lanes that this process has filled, on the CPU: what another one does not know."""
        state = self.get_extra_state()
        own = {place: lane for place, lane in state["lanes"].items() if place in self.filled}
        for lane in own.values():
            lane["pictures"] = [picture.cpu() for picture in lane["pictures"]]
        return state | {"lanes": own}

    def set_extra_state(self, state: dict) -> None:
        self.total, self.filled = state["total"], set()
        self.lanes = {
            place: Lane([picture.clone() for picture in lane["pictures"]], lane["passed"])
            for place, lane in state["lanes"].items()
        }

    @staticmethod
    def merge_extra_states(states: Iterable[dict]) -> dict:
        """Of all processes that share batches, put together: of each lane that which most pictures have passed. A
        process that has read a checkpoint holds the lanes of others, too, as they were."""
        lanes: dict[int, dict] = {}
        for state in states:
            for place, lane in state["lanes"].items():
                if place not in lanes or lane["passed"] > lanes[place]["passed"]:
                    lanes[place] = lane
        return {"total": max(state["total"] for state in states), "lanes": dict(sorted(lanes.items()))}

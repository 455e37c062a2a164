"""The integer network: a folded model's tensors, checked and unchanging (docs/network.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from .config import ModelConfig
from .formats import Formats
from .tensors import check_tensors


@dataclass(frozen=True, eq=False)
class IntNetwork:
    """A folded Bi-ViT; its arithmetic is docs/semantics.md.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    tensors : dict[str, ndarray]
        Keys, dtypes, shapes and ranges as `sim.network.tensors.tensor_specs` states. They are not copied: the network
        holds views that cannot be written, so that what is derived from a network once holds as long as the network.
        ``dataclasses.replace`` makes one with other tensors.
    provenance : dict
        Where the network came from; free form, JSON values.
    agreement : dict
        What export measured against the model; JSON values.

    Raises
    ------
    BivitError
        When a tensor is missing, unexpected or out of range.
    """

    config: ModelConfig
    formats: Formats
    tensors: dict[str, NDArray[Any]]
    provenance: dict[str, Any] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_tensors(self.tensors, self.config, self.formats)
        object.__setattr__(self, "tensors", {name: _read_only(tensor) for name, tensor in self.tensors.items()})


def _read_only(tensor: NDArray[Any]) -> NDArray[Any]:
    view = tensor.view()
    view.flags.writeable = False
    return view

"""The Bi-ViT and its real-valued twin in PyTorch: data, training, import, export and the integer mode.

What is public stands here; a name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from ..sim.lazy import lazy

if TYPE_CHECKING:
    from .data.dataset import Dataset
    from .data.loader import batches
    from .data.open import load_dataset, open_source
    from .evaluate import predict
    from .files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from .files.export import export_network
    from .importing.importer import import_checkpoint
    from .integer.run import run_integer
    from .train.precision import precision
    from .train.recipe import Recipe, Recipes, load_recipe
    from .train.train import train_student, train_teacher
    from .vit.vit import BiViT, RealViT, forward_taps
else:
    __getattr__, __dir__ = lazy(__name__)

__all__ = [
    "BiViT",
    "Checkpoint",
    "Dataset",
    "RealViT",
    "Recipe",
    "Recipes",
    "batches",
    "export_network",
    "forward_taps",
    "import_checkpoint",
    "load_checkpoint",
    "load_dataset",
    "load_recipe",
    "open_source",
    "precision",
    "predict",
    "run_integer",
    "save_checkpoint",
    "train_student",
    "train_teacher",
]

"""Files of other programs: what torch.save or safetensors wrote, read without running or building anything of theirs.

Torch's `weights_only` unpickler reads the file. Beside tensors and plain values it lets through the classes that are
named here, and even of these only empty stand-ins are made, which keep what they are given and run no code.
"""

from __future__ import annotations

import _compat_pickle
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

import torch
from safetensors import safe_open

from ...sim.errors import BivitError, check, some
from ...sim.system.tensor_file import content_of

#: Classes that programs put beside tensors and that change no weight: options, places, times, numbers of NumPy.
_PLAIN = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib(\._local)?\.\w*Path|uuid\.\w+|decimal\.Decimal"
    r"|datetime\.\w+|fractions\.Fraction|builtins\.(list|tuple|frozenset|slice|range|int|float|bool|str|bytes)"
    r"|collections\.deque|torch\.torch_version\.TorchVersion|enum\.\w+|typing\.\w+|omegaconf\.[\w.]+"
    r"|numpy\.(dtype|ndarray|dtypes\.\w+|_?core\.multiarray\.(scalar|_reconstruct)|(bool|int|uint|float|str)_?\d*)"
    r"|numpy\._?core\.numeric\._frombuffer|(mmcv|mmengine)\.[\w.]*HistoryBuffer"
    r"|(pytorch_)?lightning\.[\w.]*\.\w*(Fn|Mode|State|Status|Names)"
)
#: Dictionaries of classes of their own, of which the entries are read.
_TABLE = re.compile(
    r"collections\.defaultdict|builtins\.dict|addict\.[\w.]+|easydict\.EasyDict|munch\.Munch|yacs\.config\.CfgNode"
    r"|(mmcv|mmengine)\.[\w.]*\.ConfigDict|ml_collections\.[\w.]+|(pytorch_)?lightning\.[\w.]*\.AttributeDict"
)
#: Lists of classes of their own, likewise.
_LISTS = ("builtins.list", "collections.deque")
#: What torch's unpickler knows by itself: tensors, their storages and types.
_OF_TENSORS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(bytearray|set|complex)"
    r"|torch\.(Size|Tensor|device|\w+Storage|\w+Tensor|(storage|cuda)\.\w+Storage|nn\.parameter\.Parameter)"
    r"|torch\.(q?u?int|b?float|complex|bool|half|double|long|short|per_)\w*"
    r"|torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|serialization\._get_layout)"
)


#: What torch.save began its pickles with, and the bytes among which that is.
_MAGIC, _BEGIN = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little"), 32
#: Keys that only the state of a training of bivit has together.
_OWN_STATE = {"phase", "rows", "losses", "sums", "model"}


class StandIn:
    """In place of an object of an outside file: keeps its state where that is a table of names, and does nothing."""

    values: dict[str, Any]

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """Take any arguments."""
        made = super().__new__(cls)
        made.values = {}
        return made

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.values = {str(name): value for name, value in state.items()}


class StandInTable(StandIn):
    """In place of a dictionary of a class of its own."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """Return the dictionary that torch's unpickler fills, whatever class the file asks for."""
        return OrderedDict()


class StandInList(StandIn):
    """In place of a list of a class of its own."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """Return the list that torch's unpickler fills."""
        return []


@dataclass(frozen=True)
class Outside:
    """What an outside file holds: not yet trusted in any way."""

    #: The object that was saved; of a .safetensors file, its tensors by name.
    content: Any
    #: Metadata of a .safetensors file.
    metadata: dict[str, str] = field(default_factory=dict)


def read_outside(source: Path) -> Outside:
    """Read a file of another program, by its content and not by its name.

    Parameters
    ----------
    source : path

    Raises
    ------
    BivitError
        When it is missing, damaged, no file of tensors, one of bivit's own, or holds objects of other classes than
        those that are read: they are named, and nothing of them has run.
    """
    part = re.search(r"-[0-9]{5}-of-([0-9]{5})\.", source.name)
    check(
        part is None or int(part[1]) == 1,
        f"{source} is one of {part and int(part[1])} files of one model; put its tensors into one file first, as "
        "save_pretrained(..., max_shard_size='100GB') of transformers does",
    )
    kind = content_of(source)
    if kind == "safetensors":
        return _read_safetensors(source)
    stand_ins = _stand_ins(source, kind)
    try:
        # As a file, since torch judges a path by its suffix.
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins), source.open("rb") as file:
            warnings.simplefilter("ignore")
            outside = Outside(torch.load(file, map_location="cpu", weights_only=True))
    # A damaged or hostile pickle raises anything, and too large a size MemoryError.
    except Exception as error:
        raise BivitError(
            f"{source} cannot be read as a checkpoint: {_first_line(error)}; fetch it again, or save the model's "
            "state_dict() alone, best as .safetensors"
        ) from error
    check(
        not (isinstance(outside.content, dict) and set(outside.content) >= _OWN_STATE),
        f"{source} is the state of a training of bivit, which `bivit train --resume` continues; its models are the "
        ".safetensors files in its folder",
    )
    return outside


def _read_safetensors(source: Path) -> Outside:
    try:
        with safe_open(source, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            check(
                "bivit" not in metadata,
                f"{source} is a file of bivit itself, which needs no import: `bivit eval` and `bivit train --teacher` "
                "take checkpoints, `bivit run` takes integer networks",
            )
            return Outside({name: file.get_tensor(name) for name in file.keys()}, metadata)  # noqa: SIM118
    except BivitError:
        raise
    # Beside its own error the library raises those of the tensor library for types that this does not have.
    except Exception as error:
        raise BivitError(f"{source} cannot be read as a checkpoint: {_first_line(error)}; fetch it again") from error


def _stand_ins(source: Path, kind: str) -> list[Any]:
    """Return a stand-in, and its name, for each class of the file that is let through beside tensors.

    Raises
    ------
    BivitError
        Naming the classes that are not.
    """
    try:
        with source.open("rb") as file:
            names = set(_globals_in_zip(source, file) if kind == "zip" else _globals_in_pickles(file))
    except BivitError:
        raise
    except Exception as error:
        raise BivitError(
            f"{source} cannot be read as a checkpoint: it is truncated or damaged ({_first_line(error)}); fetch it "
            "again"
        ) from error
    unknown = sorted(name for name in names if not _OF_TENSORS.fullmatch(name))
    others = [name for name in unknown if not _TABLE.fullmatch(name) and not _PLAIN.fullmatch(name)]
    # A model's own class says more than the layers that torch brings.
    others.sort(key=lambda name: name.startswith("torch."))
    modules = any(name.startswith("torch.nn.modules.") for name in others)
    check(
        not others,
        f"{source} holds {'a whole pickled model' if modules else 'Python objects'}, whose code is not run: "
        f"{some(others)}; in the program that wrote it, load it and save the model's state_dict() alone, best as "
        ".safetensors",
    )
    bases = {
        name: StandInTable if _TABLE.fullmatch(name) else StandInList if name in _LISTS else StandIn for name in unknown
    }
    return [(type("Of", (base,), {}), name) for name, base in bases.items()]


def _globals_in_zip(source: Path, file: BinaryIO) -> Iterator[str]:
    """Names of the classes and functions in what torch.save writes since 1.6."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        check(
            len(pickles) == 1,
            f"{source} is a zip archive, but not one of torch.save: it holds {len(pickles)} files data.pkl; unpack it, "
            "and give the file of the weights",
        )
        check(
            not any(entry.filename.endswith("/constants.pkl") for entry in entries),
            f"{source} is a TorchScript program, which is not run; in the program that wrote it, save the model's "
            "state_dict() alone, best as .safetensors",
        )
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        check(not packed, f"{source} is a compressed zip archive, which torch.save never writes; fetch it again")
        with archive.open(pickles[0]) as content:
            yield from _globals_in(content, source)


def _globals_in_pickles(file: BinaryIO) -> Iterator[str]:
    """The same for what torch.save wrote before: magic number, version, system, the object, keys of its storages."""
    source = Path(file.name)
    if _MAGIC not in file.read(_BEGIN):
        file.seek(0)
        for _ in pickletools.genops(file):
            pass  # a damaged one raises
        check(
            False,
            f"{source} is a pickle as Python's own pickle.dump writes it, and no checkpoint; a file of torch.save or "
            "safetensors is expected: in the program that wrote it, save the model's state_dict(), best as "
            ".safetensors",
        )
    file.seek(0)
    for _ in range(4):
        yield from _globals_in(file, source)


def _globals_in(file: IO[bytes], source: Path) -> Iterator[str]:
    for code, argument, _ in pickletools.genops(file):
        check(
            code.name not in ("STACK_GLOBAL", "INST"),
            f"{source} is written in a form of pickle that torch's safe reader does not take; save it again, with the "
            "pickle_protocol that is torch.save's default",
        )
        if code.name == "GLOBAL":
            module, name = str(argument).split(" ", 1)
            # Names of Python 2, which pickle writes for its sake.
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
            yield f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"


def _first_line(error: Exception) -> str:
    """Return what an error of torch says, without its advice to load the file unsafely."""
    text = str(error) or type(error).__name__
    found = re.search(r"WeightsUnpickler error:\s*(.*)", text)
    return (found[1] if found else text.splitlines()[0])[:200]

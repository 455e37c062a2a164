"""Builder of ONNX graphs with full shapes, named tensors and QONNX datatypes; it knows nothing of networks.

Every tensor gets its type and shape when its node is added, by ONNX's own inference, so a wrong operator fails there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TypeProto, defs, helper, numpy_helper, shape_inference

from ..errors import check

#: Version of the standard operators, the one that qonnx prefers.
OPSET = 18
#: The first version of the format that has model-local functions, or later.
IR_VERSION = 9
#: Of QONNX's own operators; qonnx finds its implementation by this name.
QONNX_DOMAIN = "qonnx.custom_op.general"
#: Key of a QONNX datatype in a tensor's quantization annotation.
DATATYPE_KEY = "finn_datatype"

_OPSETS = [helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX_DOMAIN, 1)]
#: Constants that shapes depend on are small; weights need not be copied for shape inference.
_LARGEST_SHAPE = 64


class OnnxGraph:
    """A graph under construction; tensors are known by their names.

    Parameters
    ----------
    name : str
        Of the graph.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[str] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._types: dict[str, TypeProto] = {}
        self._datatypes: dict[str, str] = {}
        self._scope = ""
        self._counts: dict[str, int] = {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Name all that is added meanwhile, and gets no name of its own, after `name`."""
        outer, self._scope = self._scope, name
        yield
        self._scope = outer

    @property
    def constant_bytes(self) -> int:
        """Size of all constants."""
        return sum(len(constant.raw_data) for constant in self._constants.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(axis.dim_value for axis in self._types[name].tensor_type.shape.dim)

    def input(self, name: str, dtype: type, shape: Sequence[int]) -> str:
        """Add an input of the graph; return its name."""
        self._add_type(name, _tensor_type(dtype, shape))
        self._inputs.append(name)
        return name

    def constant(self, values: NDArray[Any], name: str | None = None) -> str:
        """Add an array that never changes; return its name. Numbers and lists without a name are shared."""
        if name is None and values.ndim < 2:
            text = "x".join(str(value) for value in values.reshape(-1))
            name = f"{'list' if values.ndim else 'number'}_{values.dtype}_{text}"
            if name in self._constants:
                return name
        name = name or self._unused("array")
        self._add_type(name, _tensor_type(values.dtype.type, values.shape))
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name)
        return name

    def op(self, kind: str, *operands: str | int | NDArray[Any], name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output.

        Parameters
        ----------
        kind : str
            A standard operator.
        operands : str, int or ndarray
            Names of tensors; arrays become constants, integers constants of the first tensor's type.
        name : str, optional
            Of the output.
        attributes
            Of the operator.

        Returns
        -------
        str
            Name of the output.
        """
        inputs = self._names(operands)
        node = self._node(kind, inputs, name, **attributes)
        small = {
            key: self._constants[key]
            for key in inputs
            if key in self._constants and np.prod(self.shape(key)) <= _LARGEST_SHAPE
        }
        types = {key: self._types[key] for key in inputs}
        schema = defs.get_schema(kind, OPSET, "")
        inferred = shape_inference.infer_node_outputs(
            schema, node, types, small, opset_imports=_OPSETS, ir_version=IR_VERSION
        )
        self._add_type(node.output[0], inferred[node.output[0]])
        return node.output[0]

    def bipolar_quant(self, x: str, name: str | None = None) -> str:
        """Add QONNX's sign to +1 and -1 of a float32 tensor, with sign(0) = +1; return the output's name."""
        inputs = [x, self.constant(np.array(1, dtype=np.float32))]
        node = self._node("BipolarQuant", inputs, name, domain=QONNX_DOMAIN)
        self._add_type(node.output[0], self._types[x])
        self.set_datatype(node.output[0], "BIPOLAR")
        return node.output[0]

    def set_datatype(self, name: str, datatype: str) -> None:
        """State a tensor's QONNX datatype, such as INT20."""
        self._datatypes[name] = datatype

    def set_range(self, name: str, low: int, high: int) -> None:
        """State the narrowest QONNX datatype of integers from `low` to `high`."""
        self.set_datatype(name, integer_datatype(low, high))

    def model(self, outputs: Sequence[str], version: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """Return the finished model.

        Parameters
        ----------
        outputs : sequence of str
            Tensors that the graph returns.
        version : str
            Of bivit, the producer.
        metadata : dict
            Properties of the model.
        """
        ends = {*self._inputs, *outputs, *self._constants}
        infos = {
            name: helper.make_value_info(name, kind)
            for name, kind in self._types.items()
            if name not in self._constants
        }
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [infos[name] for name in self._inputs],
            [infos[name] for name in outputs],
            list(self._constants.values()),
            value_info=[info for name, info in infos.items() if name not in ends],
        )
        for name, datatype in self._datatypes.items():
            annotation = graph.quantization_annotation.add(tensor_name=name)
            annotation.quant_parameter_tensor_names.add(key=DATATYPE_KEY, value=datatype)
        model = helper.make_model(
            graph,
            functions=[_bipolar_quant()],
            opset_imports=_OPSETS,
            ir_version=IR_VERSION,
            producer_name="bivit",
            producer_version=version,
        )
        helper.set_model_props(model, metadata)
        return model

    def _names(self, operands: Sequence[str | int | NDArray[Any]]) -> list[str]:
        first = next((self._types[operand] for operand in operands if isinstance(operand, str)), None)
        names = []
        for operand in operands:
            if isinstance(operand, int):
                assert first is not None, "a number takes its type from a tensor"
                operand = np.array(operand, dtype=helper.tensor_dtype_to_np_dtype(first.tensor_type.elem_type))
            names.append(operand if isinstance(operand, str) else self.constant(operand))
        return names

    def _node(self, kind: str, inputs: Sequence[str], name: str | None, **attributes: Any) -> onnx.NodeProto:
        output = name or self._unused(kind)
        # Names of nodes are those of their outputs: one name to look for in a viewer.
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return self._nodes[-1]

    def _unused(self, kind: str) -> str:
        stem = f"{self._scope}/{kind}" if self._scope else kind
        self._counts[stem] = self._counts.get(stem, 0) + 1
        return f"{stem}_{self._counts[stem]}"

    def _add_type(self, name: str, kind: TypeProto) -> None:
        check(name not in self._types, f"the graph has two tensors named {name}")
        self._types[name] = kind


def integer_datatype(low: int, high: int) -> str:
    """Name of the narrowest QONNX datatype that holds low to high.

    >>> integer_datatype(0, 1), integer_datatype(0, 255), integer_datatype(-1, 64)
    ('BINARY', 'UINT8', 'INT8')
    """
    if low >= 0:
        bits = max(1, high.bit_length())
        return "BINARY" if bits == 1 else f"UINT{bits}"
    return f"INT{max((~low).bit_length(), high.bit_length()) + 1}"


def datatypes(model: onnx.ModelProto) -> dict[str, str]:
    """QONNX datatypes that a model states, by tensor."""
    return {
        annotation.tensor_name: entry.value
        for annotation in model.graph.quantization_annotation
        for entry in annotation.quant_parameter_tensor_names
        if entry.key == DATATYPE_KEY
    }


def _tensor_type(dtype: type, shape: Sequence[int]) -> TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def _bipolar_quant() -> onnx.FunctionProto:
    """QONNX's BipolarQuant in standard operators, for runtimes that do not know it: ``x >= 0 ? scale : -scale``."""
    nodes = [
        helper.make_node("Constant", [], ["zero"], value_float=0.0),
        helper.make_node("GreaterOrEqual", ["x", "zero"], ["positive"]),
        helper.make_node("Neg", ["scale"], ["negative"]),
        helper.make_node("Where", ["positive", "scale", "negative"], ["y"]),
    ]
    return helper.make_function(
        QONNX_DOMAIN, "BipolarQuant", ["x", "scale"], ["y"], nodes, opset_imports=[helper.make_opsetid("", OPSET)]
    )

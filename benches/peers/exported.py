"""The same weights for ONNX Runtime: exported once, in f32 and in its dynamic int8, into a folder of their own."""

import shutil
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

import reference

# The first with an operator for attention, which ONNX Runtime computes as one.
OPSET = 23


def session(model: Path, work: str, precision: str, folder: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    path = file(model, work, precision, folder)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def file(model: Path, work: str, precision: str, folder: Path) -> Path:
    """`work` is `embed` or `match`, `precision` `f32` or `int8`. What is there already is used."""
    home = folder / f"{model.resolve().name}-{work}-{precision}"
    if not home.exists():
        draft = home.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if precision == "f32":
            export(model, work, draft / "model.onnx")
        else:
            quantize(file(model, work, "f32", folder), draft / "model.onnx")
        draft.rename(home)
    return home / "model.onnx"


@torch.no_grad()
def export(model: Path, work: str, path: Path):
    batch = {0: torch.export.Dim("batch")}
    kind = reference.ImageEmbedder if work == "embed" else reference.Matcher
    module = kind(model, torch.float32).eval()
    side = module.image_size
    inputs = {"pixel_values": torch.zeros(2, 3, side, side)}
    if work == "match":
        ids = torch.full((2, 12), 5)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)} | inputs
    program = torch.onnx.export(
        module, (), kwargs=inputs, input_names=list(inputs), output_names=["output"],
        dynamic_shapes={name: batch for name in inputs}, opset_version=OPSET, dynamo=True, verbose=False)
    program.save(path, external_data=True)


def quantize(source: Path, path: Path):
    """Every product with weights, a scale a row of them, signed: what VNNI multiplies without losing a bit."""
    quantize_dynamic(
        source, path, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, reduce_range=False,
        weight_type=QuantType.QInt8, use_external_data_format=True, extra_options={"MatMulConstBOnly": True})

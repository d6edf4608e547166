#!/usr/bin/env python3
"""Makes a BridgeTower checkpoint of a published size with random weights, in the Hugging Face layout.

    pip install -r tests/fixtures/requirements.txt
    scripts/make_random_checkpoint.py --size large --tokenizer roberta-large ./random-large

For timing and for comparing implementations: it computes as a trained checkpoint does and finds nothing.
Same seed, same weights, whatever the layout.
"""

import argparse
import json
import math
import shutil
import zlib
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import (
    BridgeTowerConfig,
    BridgeTowerForContrastiveLearning,
    BridgeTowerForImageAndTextRetrieval,
    BridgeTowerForMaskedLM,
    BridgeTowerImageProcessorPil,
)

TASKS = {
    "itc": BridgeTowerForContrastiveLearning,
    "itm": BridgeTowerForImageAndTextRetrieval,
    "mlm": BridgeTowerForMaskedLM,
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
SHARD_BYTES = 2 * 10**9
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")


def main():
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(args.tokenizer, args.out)
    config = published_config(args.size)
    config.architectures = [TASKS[args.heads[0]].__name__]
    config.save_pretrained(args.out)
    side = config.vision_config.image_size
    image_processor = BridgeTowerImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"shortest_edge": side}
    )
    image_processor.save_pretrained(args.out)
    write_weights(args.out, blank_weights(config, args.heads, DTYPES[args.dtype]), args.seed, args.bin)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--size", choices=("base", "large"), required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with RoBERTa's tokenizer files")
    parser.add_argument("--heads", type=head_list, default="itc,itm,mlm", help="any of itc,itm,mlm (all)")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--bin", action="store_true", help="one pytorch_model.bin instead of safetensors")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def head_list(text):
    heads = text.split(",")
    unknown = set(heads) - set(TASKS)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown head {', '.join(sorted(unknown))}")
    return heads


def published_config(size):
    width, layers, heads, patch, side = {"base": (768, 12, 12, 16, 288), "large": (1024, 24, 16, 14, 294)}[size]
    return BridgeTowerConfig(
        hidden_size=width,
        num_attention_heads=heads,
        num_hidden_layers=6,
        contrastive_hidden_size=512,
        logit_scale_init_value=2.6592,
        text_config={
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
        },
        vision_config={
            "hidden_size": width,
            "num_hidden_layers": layers,
            "patch_size": patch,
            "image_size": side,
        },
    )


def blank_weights(config, heads, dtype):
    """Every tensor of the heads together, on the meta device: names and shapes without memory."""
    weights = {}
    with torch.device("meta"):
        for head in heads:
            weights |= TASKS[head](config).to(dtype).state_dict()
    return weights


def write_weights(out, blank, seed, as_bin):
    """Fills and writes one file at a time, so that at most one shard is in memory."""
    pattern = "pytorch_model{suffix}.bin" if as_bin else "model{suffix}.safetensors"
    limit = math.inf if as_bin else SHARD_BYTES
    plan = split_torch_state_dict_into_shards(blank, max_shard_size=limit, filename_pattern=pattern)
    for filename, names in plan.filename_to_tensors.items():
        shard = {name: random_tensor(name, blank[name], seed) for name in names}
        if as_bin:
            torch.save(shard, out / filename)
        else:
            save_file(shard, out / filename, metadata={"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def random_tensor(name, blank, seed):
    """Drawn from a generator of its own, so that no other tensor and no shard boundary matters."""
    centre, deviation = distribution(name, blank.shape)
    generator = torch.Generator().manual_seed(seed << 32 | zlib.crc32(name.encode()))
    values = torch.randn(blank.shape, generator=generator) * deviation + centre
    return values.to(blank.dtype)


def distribution(name, shape):
    """Mean and standard deviation by the kind of tensor.

    Each matrix keeps its input's size, as the usual initialisations do. Attention is sharpened and its
    share of the residual damped: otherwise 24 random layers average all tokens into one, and every photo
    gets the same embedding.
    """
    parts = name.split(".")
    if not shape:
        return 2.6592, 0.0
    if "embedding" in parts[-1] or (len(shape) == 2 and "embedding" in parts[-2]):
        return 0.0, 0.3
    if len(shape) == 1:
        return (1.0, 0.05) if parts[-1] == "weight" else (0.0, 0.02)
    gain = 1.0
    if name.endswith((".query.weight", ".key.weight", ".in_proj_weight")):
        gain = 2.0
    elif name.endswith(("attention.output.dense.weight", ".attn.out_proj.weight")):
        gain = 0.3
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))


def copy_tokenizer(source, out):
    files = [source / name for name in TOKENIZER_FILES if (source / name).is_file()]
    if not files:
        raise SystemExit(f"{source} has none of {', '.join(TOKENIZER_FILES)}")
    for file in files:
        shutil.copyfile(file, out / file.name)


if __name__ == "__main__":
    main()

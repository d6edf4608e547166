#!/usr/bin/env python3
"""Writes a training run's model as a Hugging Face checkpoint: f16 safetensors, configuration, tokenizer.

    training/export.py --run RUN demo/model
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BridgeTowerImageProcessorPil

from model import IMAGE_SIDE, MAX_TOKENS, TRAINING_ONLY, config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    state = torch.load(args.run / "state.pt", weights_only=True)
    tensors = {
        name: tensor.half().contiguous()
        for name, tensor in state["model"].items()
        if not name.startswith(TRAINING_ONLY)
    }
    weights = args.out / "model.safetensors"
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    tokenizer = json.loads((args.run / "tokenizer.json").read_text())
    for token in tokenizer["added_tokens"]:
        token["lstrip"] = token["content"] == "<mask>"
    tokenizer["truncation"] = tokenizer["padding"] = None
    write_json(args.out / "tokenizer.json", tokenizer)
    write_json(args.out / "tokenizer_config.json", {
        "tokenizer_class": "RobertaTokenizer", "model_max_length": MAX_TOKENS, "add_prefix_space": True,
        "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
        "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>",
    })
    config(len(tokenizer["model"]["vocab"])).save_pretrained(args.out)
    processor = BridgeTowerImageProcessorPil(
        size={"shortest_edge": IMAGE_SIDE}, crop_size={"shortest_edge": IMAGE_SIDE}, size_divisor=32)
    processor.save_pretrained(args.out)
    parameters = sum(t.numel() for t in tensors.values())
    print(f"{parameters / 1e6:.2f} M parameters after step {state['step']} in {args.out}")


def write_json(file: Path, value):
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()

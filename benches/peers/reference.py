"""What `transformers` offers for an index: the parts of its classes that are needed. They are cut out of the whole, as its
documentation loads that, or read from the files `alone`, which takes less time and memory."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import BridgeTowerConfig, BridgeTowerForContrastiveLearning, BridgeTowerForImageAndTextRetrieval
from transformers.models.bridgetower.modeling_bridgetower import BridgeTowerTextModel, BridgeTowerVisionModel

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class ImageEmbedder(nn.Module):
    """The image's part of `BridgeTowerForContrastiveLearning.forward`."""

    def __init__(self, model: Path, dtype: torch.dtype, alone: bool = True):
        super().__init__()
        if alone:
            config = BridgeTowerConfig.from_pretrained(model)
            self.visual = tower(BridgeTowerVisionModel, "vision_model", model, config.vision_config, dtype).visual
            self.transform = linear(model, "bridgetower.cross_modal_image_transform", dtype)
            token_types = tensor(model, "bridgetower.token_type_embeddings.weight").to(dtype)
            self.head = linear(model, "itc_image_head.fc", dtype)
        else:
            whole = BridgeTowerForContrastiveLearning.from_pretrained(model, dtype=dtype).eval()
            config, trunk = whole.config, whole.bridgetower
            self.visual = trunk.vision_model.visual
            self.transform = trunk.cross_modal_image_transform
            token_types = trunk.token_type_embeddings.weight.detach()
            self.head = whole.itc_image_head
        self.register_buffer("token_type", token_types[1].clone())
        self.image_size = config.vision_config.image_size

    def forward(self, pixel_values):
        state = self.visual.forward_pre(pixel_values.to(self.token_type.dtype))
        for block in self.visual.transformer.resblocks:
            state = block(state)
        first = self.transform(self.visual.forward_post(state[:1]))[:, 0] + self.token_type
        return nn.functional.normalize(self.head(first), dim=-1)


class TextEmbedder(nn.Module):
    """The text's part of it."""

    def __init__(self, model: Path, dtype: torch.dtype, alone: bool = True):
        super().__init__()
        if alone:
            config = BridgeTowerConfig.from_pretrained(model).text_config
            self.text_model = tower(BridgeTowerTextModel, "text_model", model, config, dtype)
            self.head = linear(model, "itc_text_head.fc", dtype)
        else:
            whole = BridgeTowerForContrastiveLearning.from_pretrained(model, dtype=dtype).eval()
            self.text_model = whole.bridgetower.text_model
            self.head = whole.itc_text_head.fc

    def forward(self, input_ids):
        first = self.text_model(input_ids).last_hidden_state[:, 0]
        return nn.functional.normalize(self.head(first), dim=-1)


class Matcher(nn.Module):
    """Pairs of one text and a photo each, through `BridgeTowerForImageAndTextRetrieval`: logits `[N, 2]`."""

    def __init__(self, model: Path, dtype: torch.dtype):
        super().__init__()
        self.whole = BridgeTowerForImageAndTextRetrieval.from_pretrained(model, dtype=dtype).eval()
        self.image_size = self.whole.config.vision_config.image_size

    def forward(self, input_ids, attention_mask, pixel_values):
        return self.whole(input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values).logits


def tower(kind, name: str, model: Path, config, dtype: torch.dtype) -> nn.Module:
    names = {rf"^bridgetower\.{name}\.": ""}
    return kind.from_pretrained(model, config=config, dtype=dtype, key_mapping=names).eval()


def linear(model: Path, name: str, dtype: torch.dtype) -> nn.Linear:
    weight, bias = (tensor(model, f"{name}.{part}").to(dtype) for part in ("weight", "bias"))
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return layer


def tensor(model: Path, name: str) -> torch.Tensor:
    """One tensor of a checkpoint in safetensors, sharded or not."""
    index = model / "model.safetensors.index.json"
    file = json.loads(index.read_text())["weight_map"][name] if index.exists() else "model.safetensors"
    with safe_open(model / file, "pt") as tensors:
        return tensors.get_tensor(name)

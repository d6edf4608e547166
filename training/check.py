#!/usr/bin/env python3
"""Checks that `Demo` computes what `transformers` computes, on random weights: towers, fusion and every head."""

import torch
from transformers import (
    BridgeTowerForContrastiveLearning,
    BridgeTowerForImageAndTextRetrieval,
    BridgeTowerForMaskedLM,
)

from model import IMAGE_SIDE, Demo

torch.manual_seed(7)
demo = Demo(vocabulary=300, kinds=10, roles=7).eval()
for p in demo.parameters():
    p.data += 0.05 * torch.randn_like(p)
ids = torch.randint(5, 300, (3, 9))
mask = torch.ones_like(ids)
ids[1, 6:], mask[1, 6:] = 1, 0
pixels = torch.randn(3, 3, IMAGE_SIDE, IMAGE_SIDE)


def reference(task):
    model = task(demo.config).eval()
    report = model.load_state_dict(demo.checkpoint(), strict=False)
    missing = [k for k in report.missing_keys if "position_ids" not in k and "token_type_ids" not in k]
    assert not missing, missing
    return model(input_ids=ids, attention_mask=mask, pixel_values=pixels)


with torch.no_grad():
    text, text_last = demo.text_states(ids, mask)
    image, _ = demo.image_states(pixels)
    states, pooled, _ = demo.fuse(text, image, mask, words=3)
    _, first_only, _ = demo.fuse(text, image, mask, words=1)
    theirs = reference(BridgeTowerForContrastiveLearning)
    pairs = {
        "text_embeds": (demo.text_embeds(text_last), theirs.text_embeds),
        "image_embeds": (demo.image_embeds(image), theirs.image_embeds),
        "cross_embeds": (demo.cross_embeds(pooled), theirs.cross_embeds),
        "itm": (demo.itm_score(pooled), reference(BridgeTowerForImageAndTextRetrieval).logits),
        "itm, 1 word": (demo.itm_score(first_only), demo.itm_score(pooled)),
        "mlm": (demo.mlm_score(states)[mask == 1], reference(BridgeTowerForMaskedLM).logits[mask == 1]),
    }
for name, (ours, theirs) in pairs.items():
    worst = (ours - theirs).abs().max().item()
    print(f"{name:13} largest difference {worst:.1e}")
    assert worst < 2e-4, name

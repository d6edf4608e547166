#!/usr/bin/env python3
"""Measures a checkpoint with `transformers` on a set that `bt-query eval` reads, to hold the two against each other.

    training/evaluate.py --model demo/model SET/captions.jsonl --k 50

Text → image only, the direction of a search. Both towers run again for every pair, as `transformers` does it.
"""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    BridgeTowerForContrastiveLearning,
    BridgeTowerForImageAndTextRetrieval,
    BridgeTowerForMaskedLM,
    BridgeTowerImageProcessorPil,
)

BATCH = 100


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("captions", type=Path)
    args = parser.parse_args()
    records = [json.loads(line) for line in args.captions.read_text().splitlines()]
    records = [r for r in records if r["image"]]
    measure = Measure(args.model, args.captions.parent)
    texts = [r["caption"] for r in records]
    pixels = torch.cat([measure.pixels([r["image"] for r in part]) for part in parts(records)])
    similarity = measure.similarity(texts, pixels)
    result = {"pictures": len(records), "k": args.k, "itc": recalls(similarity)}
    result["itm"] = recalls(measure.reranked(texts, pixels, similarity, args.k))
    foils = [(i, r["foils"][0]) for i, r in enumerate(records) if "foils" in r]
    truths = measure.match([texts[i] for i, _ in foils], pixels[[i for i, _ in foils]])
    lies = measure.match([foil for _, foil in foils], pixels[[i for i, _ in foils]])
    result["foils"] = {"count": len(foils), "itm": (truths > lies).float().mean().item()}
    clozes = [(i, c) for i, r in enumerate(records) for c in r.get("cloze", [])]
    result["cloze"] = {"count": len(clozes), "top1": measure.fill(clozes, pixels)}
    print(json.dumps(result, indent=1))


class Measure:
    def __init__(self, model: Path, pictures: Path):
        self.pictures = pictures
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.processor = BridgeTowerImageProcessorPil.from_pretrained(model)
        load = lambda task: task.from_pretrained(model, dtype=torch.float32).eval()
        self.contrastive = load(BridgeTowerForContrastiveLearning)
        self.matching = load(BridgeTowerForImageAndTextRetrieval)
        self.masked = load(BridgeTowerForMaskedLM)

    def pixels(self, names):
        pictures = [Image.open(self.pictures / name).convert("RGB") for name in names]
        return self.processor(pictures, return_tensors="pt")["pixel_values"]

    def inputs(self, texts, pixels):
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt")
        return dict(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=pixels)

    def similarity(self, texts, pixels):
        """[texts, pictures], cosines."""
        out = [self.contrastive(**self.inputs(texts[p[0] : p[-1] + 1], pixels[p])) for p in parts(range(len(texts)))]
        text = torch.cat([o.text_embeds for o in out])
        image = torch.cat([o.image_embeds for o in out])
        return text @ image.T

    def match(self, texts, pixels):
        """The log-odds of a match, one for each (text, picture)."""
        out = []
        for part in parts(range(len(texts))):
            logits = self.matching(**self.inputs([texts[i] for i in part], pixels[part])).logits
            out.append(logits[:, 1] - logits[:, 0])
        return torch.cat(out)

    def reranked(self, texts, pixels, similarity, k):
        """The similarities, the best k of each text replaced by what puts them first in the order of matching."""
        scores = similarity.clone()
        for i, text in enumerate(texts):
            best = similarity[i].topk(min(k, len(pixels))).indices
            scores[i, best] = 1e3 + self.match([text] * len(best), pixels[best])
        return scores

    def fill(self, clozes, pixels):
        right = 0
        for part in parts(clozes):
            inputs = self.inputs([c["text"] for _, c in part], pixels[[i for i, _ in part]])
            logits = self.masked(**inputs).logits
            for row, (_, cloze) in enumerate(part):
                place = (inputs["input_ids"][row] == self.tokenizer.mask_token_id).nonzero()[0, 0]
                right += self.tokenizer.decode(logits[row, place].argmax()).strip() == cloze["answer"]
        return right / max(1, len(clozes))


def parts(items):
    items = list(items)
    return [items[i : i + BATCH] for i in range(0, len(items), BATCH)]


def recalls(scores):
    """Recall@1, 5, 10 of the i-th picture for the i-th text."""
    rank = (scores > scores.diagonal()[:, None]).sum(1)
    return {f"r@{k}": (rank < k).float().mean().item() for k in (1, 5, 10)}


if __name__ == "__main__":
    main()

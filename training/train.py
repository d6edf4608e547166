#!/usr/bin/env python3
"""Trains the demo model: first both towers on contrast, then everything on contrast (ITC), matching (ITM)
with hard negatives, and masked words (MLM).

    training/train.py --pool POOL --run RUN

Stopped at any moment, the same command goes on from the last saved state. Every step draws its batch from its
own number, so that an interrupted run sees what an uninterrupted one sees.
"""

import argparse
import json
import math
import os
import pickle
import random
import shutil
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from model import IMAGE_SIDE, MAX_TOKENS, PATCH, Demo
from tokenizer import learn
from world import captions
from world.backgrounds import SIDE
from world.captions import absent_query, describe, may_hold, near_miss, write
from world.scene import Scene, unseen_composition
from world.things import ABSENT_TEST, ABSENT_TRAIN, KINDS, THINGS

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
NOUN_MASKED, OTHER_MASKED = 0.5, 0.1
# The learning rate of the joint steps, of the towers' own: their batches are smaller.
JOINT_RATE = 0.6
# Matching starts on any mismatches, or it learns nothing for long, and gets to near misses over so many steps.
HARDENING_STEPS = 700


def main():
    args = parse_args()
    torch.set_num_threads(args.threads or os.cpu_count())
    torch.manual_seed(args.seed)
    args.run.mkdir(parents=True, exist_ok=True)
    pool = Pool(args.pool)
    tokenizer = args.run / "tokenizer.json"
    if args.start_from and not tokenizer.exists():
        shutil.copy(args.start_from / "tokenizer.json", tokenizer)
    language = Language(tokenizer, pool)
    model = Demo(language.tokenizer.get_vocab_size(), len(KINDS))
    optimiser = Optimiser(model)
    state_file = args.run / "state.pt"
    step = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        optimiser.load_state(state)
        step = state["step"]
        print(f"going on after step {step}")
    elif args.start_from:
        optimiser.load_weights(load_file(args.start_from / "model.safetensors"))
        print(f"starting from the weights in {args.start_from}")
    print(f"{sum(p.numel() for p in model.checkpoint().values()) / 1e6:.2f} M parameters, {len(pool)} scenes, "
          f"{language.tokenizer.get_vocab_size()} tokens", flush=True)
    total = args.tower_steps + args.joint_steps
    log = Log(args.run / "log.jsonl", every=args.log_every)
    saved = time.monotonic()
    while step < total:
        towers_only = step < args.tower_steps
        batch = Batch(args.tower_batch if towers_only else args.joint_batch, pool, language,
                      random.Random(f"{args.seed} {step}"))
        torch.manual_seed(args.seed * 1_000_003 + step)
        hardness = min(1, (step - args.tower_steps) / HARDENING_STEPS)
        losses = tower_losses(model, batch) if towers_only else joint_losses(model, batch, hardness)
        losses["loss"].backward()
        optimiser.step(learning_rate(step, args))
        step += 1
        log.add(step, losses, len(batch.scenes))
        if time.monotonic() - saved > args.save_seconds or step == total:
            save(state_file, optimiser, step)
            saved = time.monotonic()


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="folder that pool.py filled")
    parser.add_argument("--run", type=Path, required=True, help="folder of the tokenizer, the state and the log")
    parser.add_argument("--start-from", type=Path, help="folder of a checkpoint to start a new run from")
    parser.add_argument("--tower-steps", type=int, default=2200)
    parser.add_argument("--joint-steps", type=int, default=4700)
    parser.add_argument("--tower-batch", type=int, default=128)
    parser.add_argument("--joint-batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-seconds", type=float, default=180)
    return parser.parse_args()


def learning_rate(step: int, args) -> float:
    """Warm up, hold while the towers train, warm up again as the fusion joins, then down to nothing by a cosine."""
    if step < args.tower_steps:
        return args.lr * min(1, (step + 1) / 300)
    step -= args.tower_steps
    return JOINT_RATE * args.lr * min(1, (step + 1) / 300) * 0.5 * (1 + math.cos(math.pi * step / args.joint_steps))


class Optimiser:
    """AdamW on f32 copies of the weights, the model itself computing in bf16."""

    def __init__(self, model):
        self.exact = {name: p.detach().clone() for name, p in model.named_parameters()}
        model.to(torch.bfloat16)
        self.computing = dict(model.named_parameters())
        decayed = [p for p in self.exact.values() if p.ndim >= 2]
        others = [p for p in self.exact.values() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, lr=0, betas=(0.9, 0.98), fused=True)

    @torch.no_grad()
    def step(self, rate: float):
        for name, p in self.computing.items():
            self.exact[name].grad = None if p.grad is None else p.grad.float()
            p.grad = None
        torch.nn.utils.clip_grad_norm_(self.exact.values(), 1.0)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.exact["logit_scale"].clamp_(max=math.log(60))
        self.copy()

    @torch.no_grad()
    def copy(self):
        for name, p in self.computing.items():
            p.copy_(self.exact[name])

    def load_weights(self, weights):
        for name, tensor in weights.items():
            self.exact[name].copy_(tensor)
        self.copy()

    def state(self):
        return {"model": self.exact, "optimiser": self.adam.state_dict()}

    def load_state(self, state):
        for name, p in self.exact.items():
            p.data.copy_(state["model"][name])
        self.adam.load_state_dict(state["optimiser"])
        self.copy()


def save(file: Path, optimiser: Optimiser, step: int):
    part = file.with_suffix(".part")
    torch.save({**optimiser.state(), "step": step}, part)
    part.replace(file)


class Pool:
    """Pairs of sibling scenes with their pixels."""

    def __init__(self, folder: Path):
        self.pixels, self.labels, self.scenes = [], [], []
        for file in sorted(folder.glob("???.npy")):
            self.pixels.append(np.load(file, mmap_mode="r"))
            self.labels.append(np.load(file.with_name(f"{file.stem}-labels.npy")))
            self.scenes += pickle.loads(file.with_suffix(".pickle").read_bytes())
        self.part = len(self.pixels[0])
        seen = [not unseen_composition(scene) for scene in self.scenes]
        self.pairs = [n for n in range(0, len(self.scenes), 2) if seen[n] and seen[n + 1]]

    def __len__(self):
        return 2 * len(self.pairs)

    def take(self, numbers):
        where = [divmod(n, self.part) for n in numbers]
        pixels = torch.from_numpy(np.stack([self.pixels[p][i] for p, i in where]))
        labels = torch.from_numpy(np.stack([self.labels[p][i] for p, i in where]).astype(np.int64))
        return [self.scenes[n] for n in numbers], ((pixels.float() / 255 - MEAN) / STD).bfloat16(), labels


class Language:
    """The tokenizer, learnt on first use, and which of its tokens name things."""

    def __init__(self, file: Path, pool: Pool):
        if not file.exists():
            learn(corpus(pool), 1600).save(str(file))
        self.tokenizer = Tokenizer.from_file(str(file))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.mask_id = self.tokenizer.token_to_id("<mask>")
        words = {w for t in THINGS.values() for name in (t.noun, t.plural, *t.synonyms) for w in name.split()}
        self.names = {
            kind: {self.tokenizer.token_to_id("Ġ" + name.split()[-1]) for name in (t.noun, t.plural, *t.synonyms)}
            for kind, t in THINGS.items()
        }
        self.nouns = {i for w in words for i in [self.tokenizer.token_to_id("Ġ" + w)] if i is not None}

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self.tokenizer.encode_batch(texts)]

    def mask(self, ids: list[int], rng: random.Random) -> tuple[list[int], list[int]]:
        """Masked ids and targets, -100 where nothing is asked."""
        inner = range(1, len(ids) - 1)
        chosen = [i for i in inner if rng.random() < (NOUN_MASKED if ids[i] in self.nouns else OTHER_MASKED)]
        if not chosen:
            chosen = [rng.choice([i for i in inner if ids[i] in self.nouns] or list(inner))]
        masked, targets = list(ids), [-100] * len(ids)
        for i in chosen:
            targets[i] = ids[i]
            masked[i] = self.mask_id
        return masked, targets


def corpus(pool: Pool):
    rng = random.Random("corpus")
    for scene in islice(pool.scenes, 30_000):
        description = describe(scene, rng, full=True)
        yield write(description, rng, "train")
        yield write(description, rng, "test")
    for _ in range(20):
        yield from captions.all_words()
        yield from ABSENT_TRAIN[::2] + ABSENT_TEST[::2]


class Batch:
    """Scenes in pairs of siblings, each with a caption, a near miss and, for half of them, a masked caption."""

    def __init__(self, size: int, pool: Pool, language: Language, rng: random.Random):
        firsts = rng.sample(pool.pairs, size // 2)
        self.scenes, self.pixels, self.labels = pool.take([n for first in firsts for n in (first, first + 1)])
        descriptions, texts, foils = [], [], []
        for scene in self.scenes:
            description = describe(scene, rng, full=rng.random() < 0.5)
            wording = rng.random()
            descriptions.append(description)
            texts.append(write(description, random.Random(wording), "train"))
            miss = near_miss(description, scene, rng)
            if miss is None or rng.random() < 0.08:
                foils.append(absent_query(rng.choice(ABSENT_TRAIN), rng))
            else:
                foils.append(write(miss, random.Random(wording), "train"))
        ids = language.encode(texts)
        self.text = padded(ids)
        self.foil = padded(language.encode(foils))
        masked = [language.mask(caption, rng) for caption in ids[::2]]
        self.masked = padded([m for m, _ in masked])
        self.targets = padded([t for _, t in masked], fill=-100)[0]
        self.mismatch = mismatches(descriptions, self.scenes)
        named = [named_things(d, s, i, language) for d, s, i in zip(descriptions, self.scenes, ids)]
        self.named_kinds = padded([kinds for kinds, _ in named], fill=-100)[0]
        self.named_places = padded([places for _, places in named], fill=-100)[0]


def named_things(description, scene, ids, language) -> tuple[list[int], list[int]]:
    """For each token the kind of thing that it names and the patch with its centre; -100 for all other words."""
    kinds, places = [-100] * len(ids), [-100] * len(ids)
    for noun in description.nouns:
        token = next((i for i, token in enumerate(ids) if token in language.names[noun.kind]), None)
        if token is not None:
            x, y = scene.group(noun.kind).centre
            cells = IMAGE_SIDE // PATCH
            column, row = (min(int(v * cells / SIDE), cells - 1) for v in (x, y))
            kinds[token], places[token] = KINDS.index(noun.kind), row * cells + column
    return kinds, places


def padded(rows, fill=1):
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), fill)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def mismatches(descriptions, scenes: list[Scene]) -> torch.Tensor:
    """bool [texts, pictures]: pairs that certainly do not match."""
    bit = {kind: 1 << i for i, kind in enumerate(KINDS)}
    shown = [sum(bit[g.kind] for g in scene.groups) for scene in scenes]
    rows = []
    for description in descriptions:
        named = sum(bit[n.kind] for n in description.nouns)
        rows.append([named & kinds != named or not may_hold(description, scene)
                     for kinds, scene in zip(shown, scenes)])
    return torch.tensor(rows)


def tower_losses(model: Demo, batch: Batch) -> dict:
    bridges, towers = model.image_states(batch.pixels)
    _, text_last = model.text_states(*batch.text)
    text, image = model.text_embeds(text_last), model.image_embeds(bridges)
    itc, _ = contrast(model, text, image, batch.mismatch)
    patch = patch_loss(model, towers, batch.labels)
    return {"loss": itc + patch, "itc": itc, "patch": patch}


def joint_losses(model: Demo, batch: Batch, hardness: float) -> dict:
    size = len(batch.scenes)
    image, towers = model.image_states(batch.pixels)
    groups = [batch.text, batch.foil, batch.masked]
    width = max(ids.shape[1] for ids, _ in groups)
    ids = torch.cat([F.pad(ids, (0, width - ids.shape[1]), value=1) for ids, _ in groups])
    mask = torch.cat([F.pad(m, (0, width - m.shape[1])) for _, m in groups])
    text, text_last = model.text_states(ids, mask)
    text_embeds, image_embeds = model.text_embeds(text_last[:size]), model.image_embeds(image)
    itc, logits = contrast(model, text_embeds, image_embeds, batch.mismatch)

    with torch.no_grad():
        hard_images = mined(logits, batch.mismatch, hardness)
        hard_texts = mined(logits.T, batch.mismatch.T, hardness)
        own = torch.arange(size)
        hard_texts = torch.where(torch.rand(size) < 0.6 * hardness, own + size, hard_texts)
        half = len(batch.masked[0])
        texts = torch.cat([own, own, hard_texts, 2 * size + torch.arange(half)])
        images = torch.cat([own, hard_images, own, own[::2]])
    seen = []
    states, pooled, before_last = model.fuse([s[texts] for s in text], [s[images] for s in image], mask[texts], seen)
    scores = model.itm_score(pooled[: 3 * size]).float()
    matches = (torch.arange(3 * size) < size).long()
    itm = F.cross_entropy(scores, matches)

    targets = F.pad(batch.targets, (0, width - batch.targets.shape[1]), value=-100)
    asked = targets != -100
    words = model.mlm_score(states[3 * size :][asked]).float()
    mlm = F.cross_entropy(words, targets[asked])

    widen = lambda tokens: F.pad(tokens, (0, width - tokens.shape[1]), value=-100)
    places, kinds = widen(batch.named_places), widen(batch.named_kinds)
    named = places != -100
    place_logits = model.word_place(before_last[:size][named]).float()
    place = F.cross_entropy(place_logits, places[named])
    look, looked_right = look_loss(seen[:-1], kinds, batch.labels)

    cross = model.cross_embeds(pooled[:size])
    scale = model.logit_scale.float().exp()
    to_cross = sum(F.cross_entropy(masked_logits(scale * e @ cross.T, batch.mismatch), own)
                   for e in (text_embeds, image_embeds)) / 2
    patch = patch_loss(model, towers, batch.labels)
    where = torch.stack([model.patch_place(state[:, 1:]).float() for state in image])  # [bridges, B, patches, patches]
    own_place = torch.arange(where.shape[2]).expand(where.shape[:3])
    patch_place = F.cross_entropy(where.flatten(0, 2), own_place.flatten())
    loss = itc + 2 * itm + mlm + 0.3 * to_cross + patch + 0.3 * patch_place + place + 0.4 * look
    return {
        "loss": loss, "itc": itc, "itm": itm, "mlm": mlm, "to_cross": to_cross, "patch": patch,
        "patch_place": patch_place, "place": place,
        "look": look, "looked_right": looked_right,
        "place_right": (place_logits.argmax(1) == places[named]).float().mean(),
        "itm_right": (scores.argmax(1) == matches).float().mean(),
        "mlm_right": (words.argmax(1) == targets[asked]).float().mean(),
    }


def contrast(model, text, image, mismatch):
    """Symmetric contrastive loss over the batch, other true pairs left out; and the logits [texts, pictures]."""
    logits = model.logit_scale.float().exp() * text @ image.T
    own = torch.arange(len(text))
    kept = masked_logits(logits, mismatch)
    return (F.cross_entropy(kept, own) + F.cross_entropy(masked_logits(logits.T, mismatch.T), own)) / 2, logits


def masked_logits(logits, mismatch):
    keep = mismatch | torch.eye(len(logits), dtype=torch.bool)
    return logits.masked_fill(~keep, -1e4)


def mined(logits, mismatch, hardness):
    """For each row a sure mismatch: in 80 % × hardness one that the embeddings confuse with it, else any."""
    hard = logits.float().masked_fill(~mismatch, -torch.inf).softmax(1)
    easy = mismatch.float() / mismatch.sum(1, keepdim=True).clamp(min=1)
    share = 0.8 * hardness
    return torch.multinomial(share * hard.nan_to_num() + (1 - share) * easy + 1e-9 * mismatch, 1).squeeze(1)


def patch_loss(model, towers, labels):
    """Which thing covers each patch, told from the last state of the vision tower, and from its first bridge."""
    weight = torch.ones(len(KINDS) + 1)
    weight[-1] = 0.2
    losses = [
        F.cross_entropy(model.patch_kind(state[:, 1:]).float().flatten(0, 1), labels.flatten(), weight)
        for state in (towers[0], towers[-1])
    ]
    return 0.4 * losses[0] + 0.6 * losses[1]


def look_loss(seen, kinds, labels):
    """How far words for things are from looking at those things, and the share of their looks that is right."""
    rows, tokens = (kinds != -100).nonzero(as_tuple=True)
    shown = labels[rows] == kinds[rows, tokens][:, None]
    visible = shown.any(1)
    shares = [(look[rows, tokens][:, 1:].float() * shown).sum(1)[visible] for look in seen]
    share = torch.stack(shares)
    return -(share + 1e-4).log().mean(), share.mean()


class Log:
    """Means of what the losses were, one line each so many steps, on the terminal and in a file."""

    def __init__(self, file: Path, every: int):
        self.file, self.every = file, every
        self.rows, self.scenes, self.began = [], 0, time.monotonic()

    def add(self, step, losses, scenes):
        self.rows.append({k: float(v.detach()) for k, v in losses.items()})
        self.scenes += scenes
        if step % self.every:
            return
        names = self.rows[-1]
        row = {k: round(float(np.mean([r[k] for r in self.rows if k in r])), 4) for k in names}
        rate = self.scenes / (time.monotonic() - self.began)
        row = {"step": step, "scenes_per_s": round(rate, 1), **row}
        print(json.dumps(row), flush=True)
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows, self.scenes, self.began = [], 0, time.monotonic()


if __name__ == "__main__":
    main()

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
from collections import deque
from dataclasses import dataclass
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
from world.captions import Description, Noun, broken_facts, describe, may_hold, near_miss, unknown_noun, write
from world.scene import Scene, unseen_composition
from world.things import ABSENT_TEST, ABSENT_TRAIN, KINDS, THINGS

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
NOUN_MASKED, OTHER_MASKED = 0.5, 0.1
# The learning rate of the joint steps, of the towers' own: their batches are smaller.
JOINT_RATE = 0.6
# Matching starts on any mismatches, or it learns nothing for long, and gets to near misses over so many steps.
HARDENING_STEPS = 700
RECENT_BATCHES = 12
# How many of the foils ask for a single thing that is not there, and are read with what looks most like it.
ABSENT = 0.25
# Tokens of a training caption at most, and of every batch, so that all shapes stay the same.
WIDTH = 32
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above", "front": "behind", "behind": "front"}
ROLES = (None, *INVERSE)


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
    model = Demo(language.tokenizer.get_vocab_size(), len(KINDS), len(ROLES))
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
    recent = Recent(batches=RECENT_BATCHES)
    saved = time.monotonic()
    while step < total:
        towers_only = step < args.tower_steps
        batch = Batch(args.tower_batch if towers_only else args.joint_batch, pool, language,
                      random.Random(f"{args.seed} {step}"))
        torch.manual_seed(args.seed * 1_000_003 + step)
        hardness = 1 if args.start_from else min(1, (step - args.tower_steps) / HARDENING_STEPS)
        losses = tower_losses(model, batch) if towers_only else joint_losses(model, batch, recent, hardness)
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


@dataclass(frozen=True)
class Text:
    """A caption as token ids; `nouns` holds, for each noun of what it claims, the token that names it."""

    ids: list[int]
    description: Description
    nouns: list[int]


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

    def encode(self, text: str, description: Description) -> Text:
        encoded = self.tokenizer.encode(text)
        return Text(encoded.ids, description, [self._token(noun.kind, text, encoded) for noun in description.nouns])

    def _token(self, kind: str, text: str, encoded) -> int:
        if kind in THINGS:
            return next((i for i, token in enumerate(encoded.ids) if token in self.names[kind]), 0)
        return encoded.char_to_token(text.index(kind) + len(kind) - 1) or 0

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
        texts, foils = [], []
        for scene in self.scenes:
            text, foil = captioned(scene, language, rng)
            while max(len(text.ids), len(foil.ids)) > WIDTH:
                text, foil = captioned(scene, language, rng)
            texts.append(text)
            foils.append(foil)
        self.texts, self.foils = texts, foils
        self.masked = [language.mask(text.ids, rng) for text in texts[::2]]
        self.mismatch = mismatches([text.description for text in texts], self.scenes)


def captioned(scene: Scene, language: Language, rng: random.Random) -> tuple[Text, Text]:
    """A caption, and one in the same words that is false in one fact or asks for what no picture shows."""
    description = describe(scene, rng, full=rng.random() < 0.5)
    miss = near_miss(description, scene, rng)
    if miss is None or rng.random() < ABSENT:
        noun = unknown_noun(rng) if rng.random() < 0.5 else rng.choice([k for k in KINDS if scene.group(k) is None])
        place = rng.choice((None, None, scene.place))
        miss = Description((Noun(noun),), place=place, plain_colour=place and scene.plain_colour)
    wording = rng.random()
    return tuple(language.encode(write(d, random.Random(wording), "train"), d) for d in (description, miss))


def padded(rows, fill=1):
    ids = torch.full((len(rows), WIDTH), fill)
    mask = torch.zeros(len(rows), WIDTH, dtype=torch.long)
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
    _, text_last = model.text_states(*padded([text.ids for text in batch.texts]))
    text, image = model.text_embeds(text_last), model.image_embeds(bridges)
    itc, _ = contrast(model, text, image, batch.mismatch)
    patch = patch_loss(model, towers, batch.labels)
    return {"loss": itc + patch, "itc": itc, "patch": patch}


def joint_losses(model: Demo, batch: Batch, recent: "Recent", hardness: float) -> dict:
    size = len(batch.scenes)
    own, asking = torch.arange(size), len(batch.masked)
    image, towers = model.image_states(batch.pixels)
    all_texts = batch.texts + batch.foils
    ids, mask = padded([text.ids for text in all_texts] + [ids for ids, _ in batch.masked])
    early = []
    text, text_last = model.text_states(ids, mask, early)
    beside, beside_right = beside_loss(model, early[0][:size], ids[:size], mask[:size])
    text_embeds, image_embeds = model.text_embeds(text_last[:size]), model.image_embeds(image)
    itc, logits = contrast(model, text_embeds, image_embeds, batch.mismatch)

    # Pairs: each picture with its caption, each caption with a wrong picture, each picture with a wrong text, and
    # pictures with their masked captions.
    with torch.no_grad():
        hard_texts = mined(logits.T, batch.mismatch.T, hardness)
        hard_texts = torch.where(torch.rand(size) < 0.6 * hardness, own + size, hard_texts)
        hard_images = mined(logits, batch.mismatch, hardness)
        confused = recent.confused_with(batch.texts, text_embeds, 0.7 * hardness)
        foil_images = own.clone()
        absent = [row for row, foil in enumerate(batch.foils) if len(foil.description.nouns) == 1]
        looked_for = recent.confused_with([batch.foils[row] for row in absent], model.text_embeds(text_last[size:][absent]), hardness)
    scenes, remembered = list(batch.scenes), recent.scenes
    for rows, found in ((range(size), confused), (absent, looked_for)):
        for row, n in found.items():
            (hard_images if found is confused else foil_images)[rows[row]] = len(scenes)
            scenes.append(remembered[n])
    foil_images[hard_texts < size] = own[hard_texts < size]
    image = recent.beside(image, [*confused.values(), *looked_for.values()])
    texts = torch.cat([own, own, hard_texts, 2 * size + torch.arange(asking)])
    images = torch.cat([own, hard_images, foil_images, own[::2]])
    seen = []
    states, pooled, below = model.fuse(
        [s[texts] for s in text], [s[images] for s in image], mask[texts], words=asking, seen=seen)
    recent.add(batch.scenes, [s[:size].detach() for s in image], image_embeds.detach())
    scores = model.itm_score(pooled[: 3 * size]).float()
    matches = (torch.arange(3 * size) < size).long()
    itm = F.cross_entropy(scores, matches)

    targets, _ = padded([targets for _, targets in batch.masked], fill=-100)
    asked = targets != -100
    words = model.mlm_score(states[asked]).float()
    mlm = F.cross_entropy(words, targets[asked])

    rows, tokens, broken = facts(all_texts, scenes, texts[: 3 * size].tolist(), images[: 3 * size].tolist())
    told = model.word_broken(below[-1][rows, tokens]).float().squeeze(-1)
    fact = F.binary_cross_entropy_with_logits(told, broken)

    rows, tokens, roles = parts_in_relations(all_texts)
    role = sum(F.cross_entropy(model.word_role(state[rows, tokens]).float(), roles) for state in text) / len(text)

    rows, tokens, kinds, places = named_things(batch)
    place_logits = [model.word_place(state[rows, tokens]).float() for state in below]
    place = sum(F.cross_entropy(logits, places) for logits in place_logits) / len(below)
    look, looked_right = look_loss(seen, rows, tokens, kinds, batch.labels)

    cross = model.cross_embeds(pooled[:size])
    scale = model.logit_scale.float().exp()
    to_cross = sum(F.cross_entropy(masked_logits(scale * e @ cross.T, batch.mismatch), own)
                   for e in (text_embeds, image_embeds)) / 2
    patch = patch_loss(model, towers, batch.labels)
    where = torch.stack([model.patch_place(state[:size, 1:]).float() for state in image])  # [bridges, B, patches, patches]
    own_place = torch.arange(where.shape[2]).expand(where.shape[:3])
    patch_place = F.cross_entropy(where.flatten(0, 2), own_place.flatten())
    loss = itc + 2 * itm + mlm + fact + role + 0.3 * beside + 0.3 * to_cross + patch + 0.3 * patch_place + place + 0.2 * look
    return {
        "loss": loss, "itc": itc, "itm": itm, "mlm": mlm, "fact": fact, "role": role,
        "beside": beside, "beside_right": beside_right, "to_cross": to_cross, "patch": patch,
        "patch_place": patch_place, "place": place,
        "look": look, "looked_right": looked_right,
        "place_right": (place_logits[-1].argmax(1) == places).float().mean(),
        "place_first": (place_logits[0].argmax(1) == places).float().mean(),
        "fact_right": ((told > 0) == (broken > 0)).float().mean(),
        **itm_rights(scores, size, hard_texts),
        "mlm_right": (words.argmax(1) == targets[asked]).float().mean(),
        "recent": torch.tensor(len(confused) / size),
        "absent_right": (scores[2 * size :].argmax(1) == 0)[absent].float().mean(),
    }


def itm_rights(scores, size, hard_texts):
    """Shares of matching that are right: of all pairs, of true ones, of wrong pictures; and how often a true caption
    beats its near miss."""
    right = (scores.argmax(1) == (torch.arange(3 * size) < size)).float()
    odds = scores[:, 1] - scores[:, 0]
    foiled = hard_texts >= size
    beaten = (odds[:size] > odds[2 * size :])[foiled].float()
    return {"itm_right": right.mean(), "true_right": right[:size].mean(), "image_right": right[size : 2 * size].mean(),
            "beats_foil": beaten.mean()}


def facts(all_texts, scenes, texts, images):
    """Which words of which pairs say what is false of the picture: (pair, token, 1 or 0) for each noun, as tensors."""
    rows, tokens, broken = [], [], []
    for row, (t, i) in enumerate(zip(texts, images)):
        text = all_texts[t]
        for token, false in zip(text.nouns, broken_facts(text.description, scenes[i])):
            if token:
                rows.append(row)
                tokens.append(token)
                broken.append(float(false))
    return torch.tensor(rows), torch.tensor(tokens), torch.tensor(broken)


def beside_loss(model, state, ids, mask):
    """How hard it is to tell the words before and after each word, and the share told right: what tells "a dog left of
    a cat" from "a cat left of a dog"."""
    words = model.bridgetower.text_model.embeddings.word_embeddings.weight[: ids.max() + 1]
    losses, rights = [], []
    for shift, guess in zip((-1, 1), model.word_beside):
        there = mask.bool() & mask.roll(-shift, 1).bool()
        there[:, 0 if shift < 0 else -1] = False
        logits = (guess(state[there]) @ words.T).float()
        losses.append(F.cross_entropy(logits, ids.roll(-shift, 1)[there]))
        rights.append((logits.argmax(1) == ids.roll(-shift, 1)[there]).float().mean())
    return sum(losses) / 2, sum(rights) / 2


def parts_in_relations(all_texts):
    """For each noun of each text: text, token, and index into ROLES of its part in the text's relations; as tensors."""
    parts = []
    for row, text in enumerate(all_texts):
        description = text.description
        roles = [None] * len(text.nouns)
        for relation, first in ((description.relation, 0), (description.relation_2, 2)):
            if relation not in (None, "near"):
                roles[first : first + 2] = relation, INVERSE[relation]
        parts += [(row, token, ROLES.index(role)) for token, role in zip(text.nouns, roles) if token]
    return torch.tensor(parts).T


def named_things(batch: Batch):
    """For each noun of the true captions: caption, token, kind of thing, and the patch with its centre; as tensors."""
    named = []
    cells = IMAGE_SIDE // PATCH
    for row, (text, scene) in enumerate(zip(batch.texts, batch.scenes)):
        for token, noun in zip(text.nouns, text.description.nouns):
            if token:
                column, line = (min(int(v * cells / SIDE), cells - 1) for v in scene.group(noun.kind).centre)
                named.append((row, token, KINDS.index(noun.kind), line * cells + column))
    return torch.tensor(named).T


class Recent:
    """Pictures of the last steps with their states: what a text is confused with among hundreds, where a batch holds
    64. Not saved: a run that goes on fills it anew."""

    def __init__(self, batches: int):
        self.batches = deque(maxlen=batches)

    def add(self, scenes, states, embeds):
        self.batches.append((scenes, states, embeds))

    @property
    def scenes(self) -> list[Scene]:
        return [scene for scenes, _, _ in self.batches for scene in scenes]

    def confused_with(self, texts, text_embeds, share, tries=6) -> dict[int, int]:
        """Text → number of a recent picture that it is surely false of, drawn from those that its embedding is
        nearest to; for a share of the texts."""
        found = {}
        if not self.batches or not texts:
            return found
        embeds = torch.cat([embeds for _, _, embeds in self.batches])
        scenes = self.scenes
        near = (40 * text_embeds.detach() @ embeds.T).softmax(1) + 1e-7
        drawn = torch.multinomial(near, tries).tolist()
        for row, text in enumerate(texts):
            if torch.rand(()) < share:
                wrong = [n for n in drawn[row] if not may_hold(text.description, scenes[n])]
                if wrong:
                    found[row] = wrong[0]
        return found

    def beside(self, states, numbers: list[int]):
        """A batch's states, one tensor a bridge, and after them those of the recent pictures with these numbers."""
        if not numbers:
            return states
        size = len(self.batches[0][0])
        old = [self.batches[n // size][1] for n in numbers]
        places = [n % size for n in numbers]
        return [torch.cat([now, torch.stack([o[bridge][place] for o, place in zip(old, places)])])
                for bridge, now in enumerate(states)]


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


def look_loss(seen, rows, tokens, kinds, labels):
    """How far words for things are from looking at those things, and the share of their looks that is right."""
    shown = labels[rows] == kinds[:, None]
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

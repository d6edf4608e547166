"""The demo model: a small BridgeTower, made of the modules of `transformers` so that it saves as theirs.

`transformers` runs both towers for every (text, picture) pair. Training pairs each picture with several
texts, so `Demo` runs the towers once and pairs their states: the same arithmetic, checked by `check.py`.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    BridgeTowerConfig,
    BridgeTowerForContrastiveLearning,
    BridgeTowerForImageAndTextRetrieval,
    BridgeTowerForMaskedLM,
)

HIDDEN, HEADS, TOWER_LAYERS, CROSS_LAYERS, EMBED = 192, 3, 6, 3, 128
IMAGE_SIDE, PATCH = 128, 16
MAX_TOKENS = 64
TRAINING_ONLY = ("patch_kind.", "patch_place.", "word_place.", "word_broken.", "word_role.", "word_beside.")


def config(vocabulary: int) -> BridgeTowerConfig:
    return BridgeTowerConfig(
        hidden_size=HIDDEN, num_attention_heads=HEADS, num_hidden_layers=CROSS_LAYERS,
        contrastive_hidden_size=EMBED, logit_scale_init_value=2.6592, share_cross_modal_transformer_layers=True,
        init_layernorm_from_vision_encoder=False,
        text_config=dict(
            vocab_size=vocabulary, hidden_size=HIDDEN, num_hidden_layers=TOWER_LAYERS, num_attention_heads=HEADS,
            intermediate_size=4 * HIDDEN, max_position_embeddings=MAX_TOKENS + 2, type_vocab_size=1,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            bos_token_id=0, pad_token_id=1, eos_token_id=2,
        ),
        vision_config=dict(
            hidden_size=HIDDEN, num_hidden_layers=TOWER_LAYERS, patch_size=PATCH, image_size=IMAGE_SIDE,
        ),
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, intermediate_size=4 * HIDDEN,
    )


class Demo(nn.Module):
    """One trunk and all published heads, under the checkpoint's names."""

    def __init__(self, vocabulary: int, kinds: int, roles: int):
        super().__init__()
        self.config = config(vocabulary)
        contrastive = BridgeTowerForContrastiveLearning(self.config)
        self.bridgetower = contrastive.bridgetower
        self.itc_text_head = contrastive.itc_text_head
        self.itc_image_head = contrastive.itc_image_head
        self.itc_cross_modal_head = contrastive.itc_cross_modal_head
        self.logit_scale = contrastive.logit_scale
        self.itm_score = BridgeTowerForImageAndTextRetrieval(self.config).itm_score
        self.mlm_score = BridgeTowerForMaskedLM(self.config).mlm_score
        positions = self.bridgetower.text_model.embeddings.position_embeddings.weight
        positions.data = 0.5 * positions.data + waves(*positions.shape)
        # Serve training only and are not saved with the model: which kind covers each patch, which patch it is,
        # in which patch the centre lies of the thing that a word names, whether what is said of it is false, its part in a
        # relation, and the words before and after it.
        self.patch_kind = nn.Linear(HIDDEN, kinds + 1)
        self.patch_place = nn.Linear(HIDDEN, (IMAGE_SIDE // PATCH) ** 2)
        self.word_place = nn.Linear(HIDDEN, (IMAGE_SIDE // PATCH) ** 2)
        self.word_broken = nn.Linear(HIDDEN, 1)
        self.word_role = nn.Linear(HIDDEN, roles)
        self.word_beside = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(2))

    @property
    def split(self) -> int:
        return TOWER_LAYERS - CROSS_LAYERS + 1

    def image_states(self, pixels):
        """[B, 3, side, side] → the vision tower's state at each bridge, each [B, patches + 1, H], and before it."""
        visual = self.bridgetower.vision_model.visual
        embeddings = visual.embeddings
        grid = IMAGE_SIDE // PATCH
        patches = pixels.reshape(len(pixels), 3, grid, PATCH, grid, PATCH).permute(0, 2, 4, 1, 3, 5)
        patches = F.linear(patches.reshape(len(pixels), grid * grid, -1), embeddings.patch_embedding.weight.flatten(1))
        class_token = embeddings.class_embedding.expand(len(pixels), 1, -1)
        state = torch.cat([class_token.to(patches.dtype), patches], 1) + embeddings.position_embedding.weight
        state = visual.ln_pre(state)
        bridges = []
        for i, block in enumerate(visual.transformer.resblocks):
            x = block.ln_1(state)
            qkv = F.linear(x, block.attn.in_proj_weight, block.attn.in_proj_bias)
            state = state + block.attn.out_proj(attend(*qkv.chunk(3, -1)))
            x = block.mlp.c_fc(block.ln_2(state))
            state = state + block.mlp.c_proj(x * torch.sigmoid(1.702 * x))
            if i + 1 >= self.split:
                bridges.append(visual.ln_post(state))
        image_type = self.bridgetower.token_type_embeddings.weight[1]
        return [self.bridgetower.cross_modal_image_transform(b) + image_type for b in bridges], bridges

    def text_states(self, ids, mask, early=None):
        """[B, T] → the text tower's state at each bridge, each [B, T, H], and the last. `early`, a list, is given the
        state half way up."""
        text = self.bridgetower.text_model
        e = text.embeddings
        positions = torch.cumsum(mask, 1) * mask + 1
        state = e.word_embeddings(ids) + e.position_embeddings(positions) + e.token_type_embeddings.weight[0]
        state = e.LayerNorm(state)
        bias = attention_bias(mask, state.dtype)
        bridges = []
        for i, layer in enumerate(text.encoder.layer):
            state = attention(layer.attention, state, state, bias)
            state = feed_forward(layer, state)
            if early is not None and i + 1 == TOWER_LAYERS // 2:
                early.append(state)
            if i + 1 >= self.split:
                bridges.append(state)
        text_type = self.bridgetower.token_type_embeddings.weight[0]
        return [self.bridgetower.cross_modal_text_transform(b) + text_type for b in bridges], bridges[-1]

    def fuse(self, text, image, mask, words, seen=None):
        """Paired bridge states → (text states [words, T, H] of the last `words` pairs, pooled [B, 2H], all text states after
        each layer but the last, [B, T, H] each).
        `seen`, a list, is given what the first head of each layer looks at in the picture, [B, T, patches + 1]."""
        trunk = self.bridgetower
        bias = attention_bias(mask, text[0].dtype)
        below = []
        t = trunk.cross_modal_text_layernorm(text[0])
        v = trunk.cross_modal_image_layernorm(image[0])
        for i, (text_layer, image_layer) in enumerate(zip(trunk.cross_modal_text_layers, trunk.cross_modal_image_layers)):
            if i > 0:
                t = trunk.cross_modal_text_link_tower[i - 1](text[i], t, None)
                v = trunk.cross_modal_image_link_tower[i - 1](image[i], v, None)
            if i < CROSS_LAYERS - 1:
                t, v = cross_layer(text_layer, t, t, bias, v, None, seen), cross_layer(image_layer, v, v, None, t, bias)
                below.append(t)
        # Of the last layer only the first states are read, but for the texts with masked words.
        rest = len(t) - words
        asked = cross_layer(text_layer, t[rest:], t[rest:], bias[rest:], v[rest:], None)
        first = cross_layer(text_layer, t[:rest, :1], t[:rest], bias[:rest], v[:rest], None)
        first_image = cross_layer(image_layer, v[:, :1], v, None, t, bias)
        first_text = torch.cat([first, asked[:, :1]])
        pooled = torch.cat([trunk.cross_modal_text_pooler(first_text), trunk.cross_modal_image_pooler(first_image)], -1)
        return asked, pooled, below

    def text_embeds(self, last):
        return F.normalize(self.itc_text_head(last[:, 0]).float(), dim=-1)

    def image_embeds(self, bridges):
        return F.normalize(self.itc_image_head(bridges[-1][:, 0]).float(), dim=-1)

    def cross_embeds(self, pooled):
        return F.normalize(self.itc_cross_modal_head(pooled).float(), dim=-1)

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """The tensors that a published checkpoint holds."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith(TRAINING_ONLY)}


def waves(positions: int, width: int):
    """Rows of norm 0.7, about that of a word: sines and cosines, so that to look one word on is a rotation and need not
    be learnt position by position."""
    phases = torch.arange(positions)[:, None] * 1.2 * torch.exp(torch.arange(0, width, 2) / width * -math.log(100))
    rows = torch.cat([phases.sin(), phases.cos()], 1)
    return 0.7 * F.normalize(rows, dim=1)


def attend(q, k, v, bias=None, seen=None):
    """Written out: on a CPU the backward pass of the fused kernel takes several times as long."""
    split = lambda x: x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
    scores = split(q) @ split(k).transpose(-1, -2) * (HIDDEN // HEADS) ** -0.5
    if bias is not None:
        scores = scores + bias
    shares = scores.softmax(-1)
    if seen is not None:
        seen.append(shares[:, 0])
    return (shares @ split(v)).transpose(1, 2).flatten(2)


def attention_bias(mask, dtype):
    return ((1 - mask) * -1e4).to(dtype)[:, None, None, :]


def attention(block, x, context, bias, seen=None):
    own = getattr(block, "self")
    mixed = attend(own.query(x), own.key(context), own.value(context), bias, seen)
    return block.output.LayerNorm(block.output.dense(mixed) + x)


def cross_layer(layer, queries, own, own_bias, other, other_bias, seen=None):
    """A cross-modal layer: `queries`, states of `own`, look at their own stream, then at the other."""
    x = attention(layer.attention, queries, own, own_bias)
    return feed_forward(layer, attention(layer.crossattention, x, other, other_bias, seen))


def feed_forward(layer, x):
    return layer.output.LayerNorm(layer.output.dense(F.gelu(layer.intermediate.dense(x))) + x)

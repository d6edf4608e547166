"""The demo model: a small BridgeTower, made of the modules of `transformers` so that it saves as theirs.

`transformers` runs both towers for every (text, picture) pair. Training pairs each picture with several
texts, so `Demo` runs the towers once and pairs their states: the same arithmetic, checked by `check.py`.
"""

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
TRAINING_ONLY = ("patch_kind.", "patch_place.", "word_place.")


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

    def __init__(self, vocabulary: int, kinds: int):
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
        # Serve training only and are not saved with the model: which kind covers each patch, which patch it is,
        # and in which patch the centre lies of the thing that a word names.
        self.patch_kind = nn.Linear(HIDDEN, kinds + 1)
        self.patch_place = nn.Linear(HIDDEN, (IMAGE_SIDE // PATCH) ** 2)
        self.word_place = nn.Linear(HIDDEN, (IMAGE_SIDE // PATCH) ** 2)

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

    def text_states(self, ids, mask):
        """[B, T] → the text tower's state at each bridge, each [B, T, H], and the last."""
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
            if i + 1 >= self.split:
                bridges.append(state)
        text_type = self.bridgetower.token_type_embeddings.weight[0]
        return [self.bridgetower.cross_modal_text_transform(b) + text_type for b in bridges], bridges[-1]

    def fuse(self, text, image, mask, seen=None):
        """Paired bridge states → (text states [B, T, H], pooled [B, 2H], text states before the last layer).
        `seen`, a list, is given what the first head of each layer looks at in the picture, [B, T, patches + 1]."""
        trunk = self.bridgetower
        bias = attention_bias(mask, text[0].dtype)
        t = trunk.cross_modal_text_layernorm(text[0])
        v = trunk.cross_modal_image_layernorm(image[0])
        for i in range(CROSS_LAYERS):
            if i > 0:
                t = trunk.cross_modal_text_link_tower[i - 1](text[i], t, None)
                v = trunk.cross_modal_image_link_tower[i - 1](image[i], v, None)
            last = i == CROSS_LAYERS - 1
            before_last = t
            text_layer, image_layer = trunk.cross_modal_text_layers[i], trunk.cross_modal_image_layers[i]
            own = attention(text_layer.attention, t, t, bias)
            t_next = feed_forward(text_layer, attention(text_layer.crossattention, own, v, None, seen))
            # Of the picture's last states only the first is read.
            queries = v[:, :1] if last else v
            v = feed_forward(image_layer, attention(image_layer.crossattention, attention(image_layer.attention, queries, v, None), t, bias))
            t = t_next
        pooled = torch.cat([trunk.cross_modal_text_pooler(t), trunk.cross_modal_image_pooler(v)], -1)
        return t, pooled, before_last

    def text_embeds(self, last):
        return F.normalize(self.itc_text_head(last[:, 0]).float(), dim=-1)

    def image_embeds(self, bridges):
        return F.normalize(self.itc_image_head(bridges[-1][:, 0]).float(), dim=-1)

    def cross_embeds(self, pooled):
        return F.normalize(self.itc_cross_modal_head(pooled).float(), dim=-1)

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """The tensors that a published checkpoint holds."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith(TRAINING_ONLY)}


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


def feed_forward(layer, x):
    return layer.output.LayerNorm(layer.output.dense(F.gelu(layer.intermediate.dense(x))) + x)

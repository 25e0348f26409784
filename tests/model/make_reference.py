#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the reference checkpoints of test_forward.c: tiny models with random weights and their logits.

Each folder reference/NAME holds a checkpoint as Hugging Face transformers writes it (config.json, safetensors, a
byte-level tokenizer.json) and reference/model.safetensors with what transformers computes for it in fp32 from the stored
weights:

    lengths    [sequences]      tokens of each sequence
    ids        [tokens]         all sequences, one after the other
    positions  [rows]           the tokens whose logits are kept
    logits     [rows, vocab]
    greedy     [tokens]         of other architectures than llama: PROMPT tokens and those that transformers adds

all as F32. To add an architecture, add a recipe to CASES. A folder without config.json is a model that is not kept here:
with --stories DIRECTORY, the logits of that model are written to reference/stories260k.

    python3 tests/model/make_reference.py [--stories DIRECTORY] [NAME ...]

Needs torch, transformers (5), tokenizers and safetensors. Runs in seconds; the same versions give the same files.
"""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

FOLDER = pathlib.Path(__file__).parent / "reference"
VOCABULARY = 256
KEPT_ROWS = 10
PROMPT, ADDED, LEAST_GAP = 12, 36, 1e-3  # generation; it ends before two logits that are nearly equal

LLAMA = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=44,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    rms_norm_eps=1e-5,
    hidden_act="silu",
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)


# Another architecture: key-value heads != heads, heads * head_dim != hidden_size, all as small as may be.
OTHER = dict(LLAMA, hidden_size=24, intermediate_size=40, head_dim=8, max_position_embeddings=128,
             tie_word_embeddings=False)


def case(lengths=(40, 7), dtype="bfloat16", shard="1GB", absent=(), old=None, model_type="llama", attention="eager",
         stacked=False, **changes):
    """old: keys of a transformers 4 config.json, in place of what transformers 5 writes; absent: keys left out;
    attention: which of its implementations counts; stacked: experts as transformers 5 has them in memory."""
    config = {**(LLAMA if model_type == "llama" else {} if "text_config" in changes else OTHER), **changes}
    for key in ("head_dim", "num_key_value_heads", "intermediate_size"):  # 0: the class has no such key, or a rule of its own
        if config.get(key) == 0:
            del config[key]
    return dict(config_class=CONFIG_MAPPING[model_type], config=config, lengths=lengths, dtype=dtype, shard=shard,
                absent=absent, old=old, attention=attention, stacked=stacked)


CASES = {
    # more than one query tile; old names
    "llama_grouped": case(lengths=(300, 37, 1), old={"rope_theta": 10000.0}),
    # no num_key_value_heads, no head_dim, no rope key at all, own head matrix
    "llama_untied_f32": case(dtype="float32", num_key_value_heads=4, tie_word_embeddings=False,
                             absent=("num_key_value_heads", "head_dim"), old={}),
    "llama_rope_llama3": case(lengths=(200, 30), old={"rope_theta": 500000.0, "rope_scaling": LLAMA3_ROPE}),
    "llama_rope_linear": case(lengths=(150, 9), old={"rope_theta": 10000.0,
                                                    "rope_scaling": {"type": "linear", "factor": 4.0}}),
    # shorter than, equal to and longer than max_position_embeddings
    "llama_rope_dynamic": case(lengths=(20, 100, 32, 64), max_position_embeddings=32,
                               old={"rope_theta": 10000.0, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
    "llama_head_dim": case(head_dim=12, num_key_value_heads=1, old={"rope_theta": 10000.0}),
    "llama_biases_f16": case(dtype="float16", attention_bias=True, mlp_bias=True, old={"rope_theta": 10000.0}),
    # as transformers 5 writes it, in several files
    "llama_sharded": case(shard="12KB", tie_word_embeddings=False,
                          rope_parameters={"rope_type": "default", "rope_theta": 20000.0}),
    "llama_new_names": case(lengths=(120,), eos_token_id=[2, 3],
                            rope_parameters={"rope_theta": 500000.0, **LLAMA3_ROPE}),
    # the window is off, though there is one
    "qwen2": case(model_type="qwen2", tie_word_embeddings=True, head_dim=0, sliding_window=10,
                  old={"rope_theta": 1000000.0}),
    "qwen3": case(model_type="qwen3", rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    "qwen3_biases": case(model_type="qwen3", attention_bias=True, num_key_value_heads=4),
    "mistral": case(model_type="mistral", sliding_window=None),
    "mistral_window": case(model_type="mistral", lengths=(60, 7, 16, 17), sliding_window=16),
    # transformers takes a mistral with the list for its class Ministral
    "mistral_types": case(model_type="ministral", sliding_window=9, layer_types=["full_attention", "sliding_attention"],
                          old={"model_type": "mistral"}),
    # blocks from max_window_layers on, or those of the list
    "qwen2_window": case(model_type="qwen2", num_hidden_layers=3, head_dim=0, sliding_window=9, max_window_layers=2,
                         use_sliding_window=True, absent=("layer_types",)),
    "qwen3_window": case(model_type="qwen3", num_hidden_layers=2, sliding_window=9, use_sliding_window=True,
                         layer_types=["sliding_attention", "full_attention"]),
    "granite": case(model_type="granite", head_dim=0, attention_bias=True, embedding_multiplier=3.0,
                    residual_multiplier=0.3, attention_multiplier=0.2, logits_scaling=2.0, tie_word_embeddings=True),
    # the fourth block has no rope
    "smollm3": case(model_type="smollm3", num_hidden_layers=4, head_dim=0, pad_token_id=0, tie_word_embeddings=True,
                    absent=("no_rope_layers", "layer_types")),
    "smollm3_window": case(model_type="smollm3", num_hidden_layers=3, head_dim=0, pad_token_id=0, sliding_window=8,
                           use_sliding_window=True, no_rope_layers=[1, 0, 1]),
    # the list says which blocks slide, although the flag says that none does
    "smollm3_types": case(model_type="smollm3", num_hidden_layers=3, head_dim=0, pad_token_id=0, sliding_window=8,
                          use_sliding_window=False,
                          layer_types=["full_attention", "sliding_attention", "full_attention"]),
    "olmo2": case(model_type="olmo2", head_dim=0),
    # soft caps that bend logits and scores of these sizes
    "gemma2": case(model_type="gemma2", tie_word_embeddings=True, sliding_window=9, query_pre_attn_scalar=20,
                   attn_logit_softcapping=2.0, final_logit_softcapping=6.0, hidden_activation="gelu_pytorch_tanh",
                   absent=("layer_types",)),
    "gemma2_no_caps": case(model_type="gemma2", tie_word_embeddings=True, query_pre_attn_scalar=8,
                           attn_logit_softcapping=None, final_logit_softcapping=None,
                           layer_types=["full_attention", "sliding_attention"], sliding_window=20),
    # by the pattern; the keys of transformers 4
    "gemma3": case(model_type="gemma3_text", tie_word_embeddings=True, sliding_window=9, query_pre_attn_scalar=20,
                   num_hidden_layers=3, sliding_window_pattern=2, absent=("layer_types", "_sliding_window_pattern"),
                   rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                                    "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}},
                   old={"rope_theta": 1000000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
                        "rope_local_base_freq": 5000.0, "sliding_window_pattern": 2}),
    "gemma3_types": case(model_type="gemma3_text", tie_word_embeddings=False, sliding_window=16,
                         query_pre_attn_scalar=8, final_logit_softcapping=5.0, attn_logit_softcapping=1.0,
                         layer_types=["full_attention", "sliding_attention"]),
    # what yarn makes of amplitudes is of the blocks that do not slide
    "gemma3_yarn": case(model_type="gemma3_text", tie_word_embeddings=True, sliding_window=16, query_pre_attn_scalar=8,
                        layer_types=["sliding_attention", "full_attention"],
                        rope_parameters={"full_attention": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 50000.0,
                                                            "original_max_position_embeddings": 16},
                                         "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}}),
    "phi3": case(model_type="phi3", head_dim=0, sliding_window=10, pad_token_id=0),
    # a sequence shorter than the trained length, two longer ones; a part of the head
    "phi3_longrope": case(model_type="phi3", lengths=(14, 40, 17), head_dim=0, hidden_size=32, pad_token_id=0,
                          num_key_value_heads=1, original_max_position_embeddings=16,
                          rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0,
                                           "partial_rotary_factor": 0.75, "original_max_position_embeddings": 16,
                                           "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.5, 3.0, 8.0]}),
    "qwen2_yarn": case(model_type="qwen2", head_dim=0, rope_parameters={
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}),
    "opt": case(model_type="opt", head_dim=0, num_key_value_heads=0, ffn_dim=40, word_embed_proj_dim=24, pad_token_id=0,
                tie_word_embeddings=True),
    "opt_no_biases": case(model_type="opt", head_dim=0, num_key_value_heads=0, ffn_dim=40, word_embed_proj_dim=24,
                          pad_token_id=0, enable_bias=False, activation_function="gelu"),
    "gpt_neox": case(model_type="gpt_neox", head_dim=0, num_key_value_heads=0, hidden_size=32,
                     layer_norm_eps=1e-3, hidden_act="gelu",
                     rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}),
    "gpt_neox_sequential": case(model_type="gpt_neox", head_dim=0, num_key_value_heads=0, hidden_size=32,
                                use_parallel_residual=False, attention_bias=False, hidden_act="gelu_new",
                                old={"rotary_pct": 0.5, "rotary_emb_base": 5000.0},
                                rope_parameters={"rope_type": "default", "rope_theta": 5000.0,
                                                 "partial_rotary_factor": 0.5}),
    "gpt2": case(model_type="gpt2", head_dim=0, num_key_value_heads=0, n_inner=40, layer_norm_epsilon=1e-3,
                 tie_word_embeddings=True),
    "gpt2_scales": case(model_type="gpt2", head_dim=0, num_key_value_heads=0, intermediate_size=0, scale_attn_weights=False,
                        scale_attn_by_inverse_layer_idx=True, activation_function="relu"),
    # the text part of a model with images, which no id of the texts stands for
    "gemma3_images": case(model_type="gemma3", tie_word_embeddings=True, image_token_index=1000, boi_token_index=1001,
                          eoi_token_index=1002, mm_tokens_per_image=1,
                          text_config=dict(OTHER, tie_word_embeddings=True, sliding_window=9, query_pre_attn_scalar=20,
                                           layer_types=["sliding_attention", "full_attention"]),
                          vision_config=dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                             num_attention_heads=1, image_size=14, patch_size=14)),
    "stablelm": case(model_type="stablelm", head_dim=0, hidden_size=32, use_qkv_bias=True, layer_norm_eps=1e-3,
                     rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}),
    "stablelm_parallel": case(model_type="stablelm", head_dim=0, hidden_size=32, use_parallel_residual=True,
                              qk_layernorm=True,
                              old={"partial_rotary_factor": 0.25, "rope_theta": 5000.0}, rope_parameters={
                                  "rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 0.25}),
    # an odd number of heads with one key
    "falcon": case(model_type="falcon", head_dim=0, num_key_value_heads=0, intermediate_size=0, num_attention_heads=3,
                   ffn_hidden_size=40, layer_norm_epsilon=1e-3, tie_word_embeddings=True),
    "falcon_grouped": case(model_type="falcon", head_dim=0, num_key_value_heads=0, intermediate_size=0,
                           hidden_size=32, num_kv_heads=2, new_decoder_architecture=True, bias=True),
    "falcon_one_norm": case(model_type="falcon", head_dim=0, num_key_value_heads=0, intermediate_size=0,
                            hidden_size=32, num_kv_heads=2, new_decoder_architecture=True, num_ln_in_parallel_attn=1),
    # slopes are rounded, as positions beyond 256 are; the eager attention of transformers adds them twice
    "falcon_alibi": case(model_type="falcon", lengths=(300, 7), attention="sdpa", head_dim=0, num_key_value_heads=0,
                         intermediate_size=0, num_attention_heads=6, alibi=True, multi_query=False, parallel_attn=False,
                         bias=True, activation="gelu_pytorch_tanh", max_position_embeddings=512),
    "bloom": case(model_type="bloom", lengths=(60, 7), head_dim=0, num_key_value_heads=0, intermediate_size=0,
                  num_attention_heads=6, layer_norm_epsilon=1e-3, tie_word_embeddings=True),
    # norms behind the branches, narrow embeddings
    "opt_350m": case(model_type="opt", head_dim=0, num_key_value_heads=0, ffn_dim=40, word_embed_proj_dim=12,
                     pad_token_id=0, do_layer_norm_before=False, tie_word_embeddings=True),
    # rows without a chunk of their own for most experts; a window
    "mixtral": case(model_type="mixtral", lengths=(60, 7, 1), num_local_experts=5, num_experts_per_tok=2,
                    sliding_window=16),
    "mixtral_stacked": case(model_type="mixtral", num_local_experts=3, num_experts_per_tok=1, stacked=True),
    # shares that are not divided by their sum, those that are; blocks without experts
    "qwen3_moe": case(model_type="qwen3_moe", num_experts=6, num_experts_per_tok=3, moe_intermediate_size=12,
                      num_hidden_layers=3, mlp_only_layers=[1], attention_bias=True),
    "qwen3_moe_window": case(model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=20,
                             norm_topk_prob=True, use_sliding_window=True, sliding_window=9, num_key_value_heads=4),
    "qwen2_moe_whole": case(model_type="qwen2_moe", head_dim=0, num_experts=4, num_experts_per_tok=2,
                            moe_intermediate_size=20, shared_expert_intermediate_size=12, norm_topk_prob=True,
                            qkv_bias=False),
    "qwen2_moe": case(model_type="qwen2_moe", head_dim=0, num_experts=6, num_experts_per_tok=2,
                      moe_intermediate_size=12, shared_expert_intermediate_size=28, num_hidden_layers=3,
                      decoder_sparse_step=2, use_sliding_window=True, sliding_window=9, max_window_layers=2,
                      absent=("layer_types",)),
}


def randomize(model, seed):
    """Weights that give logits of a few units and attention that is neither flat nor a single spike."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("bias"):
            noise *= 0.3
        elif "norm" in name:
            noise = 1 + 0.2 * noise
        elif "embed" in name or "lm_head" in name:
            noise *= 0.5
        else:
            noise *= 1.4 / tensor.shape[-1] ** 0.5
        tensor.copy_(noise)


def rewrite_config(path, recipe):
    """Takes the config back to the key names of transformers 4."""
    config = json.loads(path.read_text())
    for key in ("transformers_version", *recipe["absent"]):
        config.pop(key, None)
    if recipe["old"] is not None:
        config.pop("rope_parameters", None)
        config["torch_dtype"] = config.pop("dtype")
        config.update(recipe["old"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_tokenizer(path):
    """One token per byte, no merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    path.write_text(tokenizer.to_str(pretty=False) + "\n")


def kept_positions(lengths, count):
    """The last token of each sequence, and others evenly spread."""
    ends = torch.tensor(lengths).cumsum(0)
    spread = torch.linspace(0, int(ends[-1]) - 1, count).long()
    return torch.unique(torch.cat([spread, ends - 1]))


@torch.no_grad()
def greedy(directory, prompt, attention):
    """The prompt and its continuation with keys and values kept, as far as no two logits are nearly equal."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation=attention).eval()
    made = model.generate(prompt[None], max_new_tokens=ADDED, do_sample=False, eos_token_id=[], pad_token_id=0,
                          attention_mask=torch.ones_like(prompt)[None], output_logits=True,
                          return_dict_in_generate=True)
    best = torch.stack(made.logits)[:, 0].topk(2).values
    close = (best[:, 0] - best[:, 1] < LEAST_GAP).nonzero()
    count = int(close[0]) if len(close) else ADDED
    assert count >= ADDED // 2, f"{directory}: a gap below {LEAST_GAP} after {count} tokens"
    return made.sequences[0, : PROMPT + count]


@torch.no_grad()
def write_logits(directory, target, sequences, count, generates=False, attention="eager"):
    """Each sequence alone in a model loaded anew: `dynamic` rotary tables remember what they have seen."""
    logits = []
    for ids in sequences:
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation=attention)
        logits.append(model.eval()(ids[None]).logits[0])
    lengths = [len(ids) for ids in sequences]
    positions = kept_positions(lengths, count)
    tensors = dict(lengths=torch.tensor(lengths), ids=torch.cat(sequences), positions=positions,
                   logits=torch.cat(logits)[positions])
    if generates:
        tensors["greedy"] = greedy(directory, sequences[0][:PROMPT], attention)
    target.mkdir(parents=True, exist_ok=True)
    save_file({name: t.float().contiguous() for name, t in tensors.items()}, target / "model.safetensors")
    (target / "model.safetensors").chmod(0o644)


@torch.no_grad()
def write_case(name, recipe, seed):
    directory = FOLDER / name
    shutil.rmtree(directory, ignore_errors=True)
    config = recipe["config_class"](**recipe["config"])
    model = AutoModelForCausalLM.from_config(config)
    randomize(model, seed)
    model.to(getattr(torch, recipe["dtype"])).save_pretrained(directory, max_shard_size=recipe["shard"])
    if recipe["stacked"]:
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "generation_config.json").unlink(missing_ok=True)
    for path in directory.glob("*.safetensors"):
        path.chmod(0o644)
    rewrite_config(directory / "config.json", recipe)
    write_tokenizer(directory / "tokenizer.json")
    if config.model_type != "llama":  # whose class would add tokens of its own
        (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n')
    generator = torch.Generator().manual_seed(seed + 1000)
    sequences = [torch.randint(0, VOCABULARY, (n,), generator=generator) for n in recipe["lengths"]]
    generates = config.model_type != "llama"
    write_logits(directory, directory / "reference", sequences, KEPT_ROWS, generates, recipe["attention"])


@torch.no_grad()
def write_stories(directory):
    """The model's own greedy text, and random tokens."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    story = model.generate(torch.tensor([[1]]), max_length=256, do_sample=False, eos_token_id=[], pad_token_id=0)[0]
    noise = torch.randint(3, model.config.vocab_size, (100,), generator=torch.Generator().manual_seed(0))
    write_logits(directory, FOLDER / "stories260k" / "reference", [story, noise], 60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes to write (default: all)")
    parser.add_argument("--stories", metavar="DIRECTORY", help="checkpoint of stories260k")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed, (name, recipe) in enumerate(CASES.items()):
        if not options.names or name in options.names:
            write_case(name, recipe, seed)
    if options.stories:
        write_stories(options.stories)


if __name__ == "__main__":
    main()

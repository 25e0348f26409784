/* SPDX-License-Identifier: Apache-2.0 */
/* export.h: one point of a results file as a checkpoint. Not collective. */
#ifndef WINNOW_EXPORT_H
#define WINNOW_EXPORT_H

#include <winnow/base.h>

struct wn_export_options {
    const char *results;   /* the results file */
    const char *point;     /* its key, the beginning of one key, or its number */
    const char *directory; /* to be made; may exist when empty */
    const char *sweep;     /* where the sweep file is now; NULL: where it was when the results file was made */
    const char *format;    /* "compressed-tensors", "gptq", "awq", "gguf"; NULL: plain numbers */
    const char *dtype;     /* "f32", "bf16", "f16", "source"; NULL: what wn_export says below */
    int64_t shard_bytes;   /* most bytes of a file of weights; 0: 5 GB */
};
/*
 * Computes a point of a results file again and writes it as a Hugging Face checkpoint: config.json, generation_config
 * and tokenizer files, model.safetensors or shards with their index; and beside it
 *   winnow_codes.safetensors   per linear NAME what there is of (absent when nothing is, for the dense point):
 *                              NAME.mask U8 [rows, ceil(columns / 8)], bit j % 8 of byte j / 8 set: the weight is kept
 *                              NAME.codes U8 [rows, columns], one code per byte
 *                              NAME.scales, NAME.zeros F32 [rows, groups], [1] for one grid; where they are codes
 *                              themselves also .codes U8 [rows, groups], .scales and .zeros F32 [runs of rows, groups]
 *                              NAME.order I64 [columns], NAME.input_scale F32 [columns]
 *                              NAME.outlier_index I64 (row * columns + column), NAME.outlier_value F32
 *                              weight = scale * (code - zero) / input_scale, the value of an outlier, 0 where masked;
 *                              group g has the columns order[g * group] .., without an order g * group ..
 *   winnow_export.json         what it is: key, sweep, identity, methods, bits per weight, versions
 * Where drop leaves out both branches of a block the checkpoint has one block less, and those behind it have lower
 * numbers; where it leaves out one branch, the weights of that branch are zeros.
 *
 * With a format the linears are packed as its own tools write them (model-linears-*.safetensors, everything else in
 * model-others-*.safetensors, both in the index; quantization_config in config.json) and winnow_codes.safetensors is
 * not there:
 *   compressed-tensors   codes of 2 to 8 bits "pack-quantized", symmetric 8-bit rows "int-quantized"; pruned points
 *                        "sparse-24-bitmask" (2:4) and "sparse-bitmask", which its releases above 0.14 no longer read.
 *                        dtype is that of the scales, by default f32: the very weights of the point. With f16 or bf16,
 *                        which fast kernels ask for, scales are rounded to nearest, ties to even
 *   gptq                 version 1 with g_idx, 2, 3, 4 and 8 bits. Its scales are f16: rounded. It has no zero point 0:
 *                        a grid with it is turned round, its scale is negative
 *   awq                  gemm, 4 bits. Its scales are f16: rounded
 *   gguf                 one file, model.gguf, of llama, mistral, qwen2, qwen3, gemma2, gemma3, phi3, olmo2, granite
 *                        and smollm3, where llama.cpp has the same arithmetic: see below
 *
 * GGUF files also have the tokenizer (byte-level BPE by a rule that llama.cpp has, or pieces of SentencePiece, also
 * where only tokenizer.json is there) and the chat template. A window, biases, an activation or scaled rotations that
 * llama.cpp does not know of the architecture are refused; of longrope it takes the factors by the length of its
 * context, not of the text. Codes lie in blocks of 32 with f16 scales: 2 and 3 bits, and 4 symmetric ones, as Q4_0; 4
 * with zero points as Q4_1, whose minima, scale * zero, are rounded too; 5 to 7 bits, and 8 symmetric ones, as Q8_0.
 * Groups and columns must be multiples of 32. Points without codes, and all with a --dtype, are F32, F16 or BF16.
 * llama.cpp itself rounds the inputs of products with blocks to 8 bits, those with BF16 to BF16.
 *
 * A point made with "scale_dtype": "f16" has scales that gptq, awq, Q4_0 and Q8_0 hold exactly: the file is what was
 * evaluated (of an AWQ point up to the rows that are divided by a scale).
 * Pruned weights of a quantized point have the code of 0. Rounded scales change every weight of their group by at most
 * 2^-11 (f16) or 2^-8 (bf16) of itself: the scores of the point are not exactly those of the file, and the program says
 * how many scales were rounded, in a line and in winnow_export.json ("numbers_rounded"); 0: the file is the point.
 *
 * Scales of inputs (awq, smoothquant) go into what makes the inputs ("scales_folded"), as the published codes do: codes
 * are those of the weights times the scale, a norm before them and its bias, as f32, or the rows of the linear before
 * and its bias are divided by it. The products are those of the point up to rounding. smoothquant as compressed-tensors
 * also says that inputs are rounded, token by token to as many bits, and so do symmetric points with input_bits whose
 * input_group divides all columns: "int-quantized", a byte per code whatever its bits, as its library has it of codes
 * with rounded inputs. That library makes the step largest / 127.5 where the paper, and the point, have 127. The
 * formats gptq and awq cannot say it, nor any what quantize_outputs and LLM.int8() do: a line tells.
 *
 * What a format cannot hold is WN_ERR_INPUT before any work: SpQR, left-out branches, shapes that fill no whole words,
 * tensors that several linears share (but in gguf where whole linears lie one behind the other). Memory of a format
 * with codes: the codes of a block besides.
 *
 * The inputs must be those of the sweep: another identity is WN_ERR_INPUT with the first line that differs. All is
 * written to DIRECTORY.exporting, which is renamed at the end and removed on failure. Mistakes of the sweep's inputs go
 * to `problems`; wn_error_message() has the first or only one. Default dtype: that of the checkpoint with a format, and
 * when all weights are zeros or weights of the checkpoint, else f32: bf16 keeps 8 significant bits, which neither hold
 * the values of 8-bit codes nor weights that a method has updated. Memory: two blocks, statistics and what calibration
 * needs.
 */
wn_status wn_export(const struct wn_export_options *options, struct wn_problems *problems);

#endif

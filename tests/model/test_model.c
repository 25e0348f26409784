/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a checkpoint directory: sizes, blocks, taps, and every mistake named with its file and tensor; the cut of
 * sequences into chunks. */
#include <winnow/linalg.h>
#include <winnow/model.h>

#include "../io/folder.h"
#include "test.h"

/* ---- a checkpoint written on the spot ---- */

static const char CONFIG[] = "{\"model_type\": \"llama\", \"vocab_size\": 10, \"hidden_size\": 4,"
                             "\"intermediate_size\": 6, \"num_hidden_layers\": 1, \"num_attention_heads\": 2,"
                             "\"num_key_value_heads\": 1, \"max_position_embeddings\": 16, \"rms_norm_eps\": 1e-5,"
                             "\"tie_word_embeddings\": %s}";

static const char TOKENIZER[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], \"normalizer\": null,"
    "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true,"
    "\"use_regex\": true}, \"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true,"
    "\"trim_offsets\": true, \"use_regex\": true}, \"model\": {\"type\": \"BPE\", \"dropout\": null,"
    "\"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false,"
    "\"byte_fallback\": false, \"ignore_merges\": false, \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}";

struct entry {
    const char *name, *dtype;
    int64_t rows, columns; /* columns 0: a vector */
};

enum { N_ENTRIES = 12, Q_PROJ = 1, DOWN_PROJ = 7, NORM = 8, FINAL_NORM = 10, HEAD = 11 };

static const struct entry ENTRIES[N_ENTRIES] = {
    {"model.embed_tokens.weight", "F32", 10, 4},
    {"model.layers.0.self_attn.q_proj.weight", "F32", 4, 4},
    {"model.layers.0.self_attn.k_proj.weight", "F32", 2, 4},
    {"model.layers.0.self_attn.v_proj.weight", "F32", 2, 4},
    {"model.layers.0.self_attn.o_proj.weight", "F32", 4, 4},
    {"model.layers.0.mlp.gate_proj.weight", "F32", 6, 4},
    {"model.layers.0.mlp.up_proj.weight", "F32", 6, 4},
    {"model.layers.0.mlp.down_proj.weight", "F32", 4, 6},
    {"model.layers.0.input_layernorm.weight", "F32", 4, 0},
    {"model.layers.0.post_attention_layernorm.weight", "F32", 4, 0},
    {"model.norm.weight", "F32", 4, 0},
    {"lm_head.weight", "F32", 10, 4},
};

static int64_t elements(const struct entry *entry)
{
    return entry->rows * (entry->columns ? entry->columns : 1);
}

/* Element i of tensor k. */
static float element(int k, int64_t i)
{
    return (float)(k + 1) + (float)i / 64;
}

/* Entries without a name are left out. All dtypes are taken to be 4 bytes wide. */
static void write_tensors(const char *folder, const struct entry *entries, float *data)
{
    struct wn_text text = {0};
    int64_t at = 0;
    for (int k = 0; k < N_ENTRIES; k++) {
        const struct entry *entry = &entries[k];
        if (!entry->name)
            continue;
        wn_text_printf(&text, "%s\"%s\": {\"dtype\": \"%s\", \"shape\": [%lld", at ? ", " : "{", entry->name,
                       entry->dtype, (long long)entry->rows);
        if (entry->columns)
            wn_text_printf(&text, ", %lld", (long long)entry->columns);
        wn_text_printf(&text, "], \"data_offsets\": [%lld, %lld]}", (long long)(4 * at),
                       (long long)(4 * (at + elements(entry))));
        for (int64_t i = 0; i < elements(entry); i++)
            data[at++] = element(k, i);
    }
    wn_text_append(&text, "}", 1);
    struct wn_text file = {0};
    uint64_t length = text.length;
    wn_text_append(&file, (const char *)&length, sizeof length);
    wn_text_append(&file, text.data, text.length);
    wn_text_append(&file, (const char *)data, (size_t)at * sizeof *data);
    wn_free(folder_write(folder, "model.safetensors", file.data, file.length));
    wn_text_release(&text);
    wn_text_release(&file);
}

static char *write_model(const struct entry *entries, const char *tied)
{
    char *folder = folder_create(), *config = wn_format(CONFIG, tied);
    float data[400];
    wn_free(folder_write(folder, "config.json", config, strlen(config)));
    wn_free(folder_write(folder, "tokenizer.json", TOKENIZER, sizeof TOKENIZER - 1));
    write_tensors(folder, entries, data);
    wn_free(config);
    return folder;
}

/* ---- mistakes ---- */

/* Opens it; expects exactly `count` problems, one of which holds both parts. */
static void check_problem(char *folder, int64_t count, const char *part, const char *other)
{
    struct wn_problems problems;
    struct wn_model *model;
    bool found = false;
    wn_problems_init(&problems);
    CHECK(wn_model_open(folder, &problems, &model) == WN_ERR_INPUT);
    CHECK(!model);
    CHECK(problems.count == count);
    for (int64_t i = 0; i < problems.count; i++)
        found |= strstr(problems.lines[i], part) && strstr(problems.lines[i], other);
    if (!found) {
        test_failures++;
        fprintf(stderr, "no problem with \"%s\" and \"%s\"; the first: %s\n", part, other,
                problems.count ? problems.lines[0] : "(none)");
    }
    CHECK(wn_model_open(folder, NULL, &model) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(), problems.lines[0]);
    wn_problems_release(&problems);
    folder_remove(folder);
}

static void check_changed_entry(int index, struct entry entry, const char *part, const char *other)
{
    struct entry entries[N_ENTRIES];
    memcpy(entries, ENTRIES, sizeof entries);
    entries[index] = entry;
    check_problem(write_model(entries, "false"), 1, part, other);
}

static void check_tensor_mistakes(void)
{
    const struct entry none = {NULL, NULL, 0, 0};
    check_changed_entry(Q_PROJ, none, "model.safetensors: the tensor \"model.layers.0.self_attn.q_proj.weight\"",
                        "missing, expected with shape [4, 4]");
    check_changed_entry(FINAL_NORM, none, "\"model.norm.weight\"", "expected with shape [4]");
    check_changed_entry(DOWN_PROJ, (struct entry){ENTRIES[DOWN_PROJ].name, "F32", 6, 4},
                        "model.safetensors: tensor \"model.layers.0.mlp.down_proj.weight\"",
                        "the shape is [6, 4], expected [4, 6]");
    check_changed_entry(NORM, (struct entry){ENTRIES[NORM].name, "F32", 4, 1}, "input_layernorm.weight",
                        "the shape is [4, 1], expected [4]");
    check_changed_entry(Q_PROJ, (struct entry){ENTRIES[Q_PROJ].name, "I32", 4, 4}, "self_attn.q_proj.weight",
                        "the dtype is I32, expected F64, F32, F16, BF16, F8_E4M3 or F8_E5M2");
    check_changed_entry(HEAD, (struct entry){ENTRIES[HEAD].name, "F32", 11, 4}, "lm_head.weight",
                        "the shape is [11, 4], expected [10, 4]");
}

static void check_no_folder(const char *path, const char *part)
{
    struct wn_model *model;
    CHECK(wn_model_open(path, NULL, &model) == WN_ERR_INPUT);
    CHECK_MESSAGE(part);
}

/* Three mistakes in one go; the config alone; nothing at all. */
static void check_gathered(void)
{
    struct entry entries[N_ENTRIES];
    memcpy(entries, ENTRIES, sizeof entries);
    entries[Q_PROJ].dtype = "U32";
    entries[NORM].name = NULL;
    char *folder = write_model(entries, "false");
    wn_free(folder_write(folder, "tokenizer.json", "{", 1));
    check_problem(folder, 3, "tokenizer.json", "");

    static const char config[] = "{\"model_type\": \"nosuch\"}";
    folder = write_model(ENTRIES, "false");
    wn_free(folder_write(folder, "config.json", config, sizeof config - 1));
    check_problem(folder, 1, "config.json: key \"model_type\"", "known are: llama");

    check_problem(folder_create(), 1, "the folder is empty", "config.json");
    check_no_folder("/nonexistent", "there is no such model folder");
    check_no_folder("organization/name", "if that is a name on a hub");
    check_no_folder(WN_SOURCE_DIR "/README.md", "is a file; expected the folder that holds config.json");
    folder = folder_create();
    wn_free(folder_write(folder, "adapter_config.json", "{}", 2));
    check_problem(folder, 1, "only adapter_config.json, an adapter", "merge_and_unload");
    folder = folder_create();
    char *config_of_llama = wn_format(CONFIG, "true");
    wn_free(folder_write(folder, "config.json", config_of_llama, strlen(config_of_llama)));
    wn_free(config_of_llama);
    wn_free(folder_write(folder, "tokenizer.json", TOKENIZER, sizeof TOKENIZER - 1));
    wn_free(folder_write(folder, "pytorch_model.bin", "", 0));
    check_problem(folder, 1, "only pytorch_model.bin, PyTorch's own format", "save_pretrained");
}

/* A model of 40 blocks of which one is there: 20 lines and the number of the others. */
static void check_cap(void)
{
    static const char config[] = "{\"model_type\": \"llama\", \"vocab_size\": 10, \"hidden_size\": 4,"
                                 "\"intermediate_size\": 6, \"num_hidden_layers\": 40, \"num_attention_heads\": 2,"
                                 "\"num_key_value_heads\": 1, \"max_position_embeddings\": 16}";
    char *folder = write_model(ENTRIES, "false");
    wn_free(folder_write(folder, "config.json", config, sizeof config - 1));
    check_problem(folder, 21, "331 more tensors", "model.safetensors");
}

/* ---- a good one ---- */

static void check_sizes(const struct wn_model *model, bool tied)
{
    CHECK(model->config.tied == tied);
    CHECK(wn_model_block_weights(model) == 16 + 8 + 8 + 16 + 3 * 24);
    CHECK(wn_model_weights(model) == 120);
    CHECK(wn_model_parameters(model) == 120 + 3 * 4 + (tied ? 40 : 80));
    CHECK(wn_block_bytes(model) == 4 * (120 + 8) + (int64_t)sizeof(struct wn_block));
    CHECK((model->head == model->embedding) == tied);
    for (int i = 0; i < 4; i++)
        CHECK(model->final_norm[i] == element(FINAL_NORM, i));
}

struct taken {
    int64_t count[WN_MAX_INPUTS], rows;
    const struct wn_layout *layout;
};

static void take(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct taken *taken = context;
    int64_t rows = row[n_chunks];
    CHECK(input >= 0 && input < taken->layout->n_inputs && width == taken->layout->input_widths[input]);
    CHECK(rows == taken->rows && wn_all_finite(x, rows * width));
    taken->count[input]++;
}

/* Taps are called once per input, and do not change the result. */
static void check_run(const struct wn_model *model, struct wn_block *block)
{
    const int64_t offset[] = {0, 2, 5};
    const int32_t ids[] = {1, 2, 9, 0, 4};
    float hidden[20], again[20], logits[50], *scratch = wn_alloc(wn_model_scratch(model, 5), sizeof *scratch);
    float *panel = wn_alloc(wn_model_head_scratch(model), sizeof *panel);
    struct wn_chunk chunk = {.n_sequences = 2, .offset = offset};
    struct taken taken = {.rows = 5, .layout = &model->layout};
    struct wn_tap tap = {.take = take, .context = &taken};
    wn_model_embed(model, ids, NULL, 5, hidden);
    CHECK(hidden[4] == element(0, 8) && hidden[11] == element(0, 39));
    memcpy(again, hidden, sizeof hidden);
    wn_model_run_block(model, block, &chunk, hidden, scratch, NULL);
    wn_model_run_block(model, block, &chunk, again, scratch, &tap);
    CHECK(!memcmp(again, hidden, sizeof hidden));
    for (int i = 0; i < model->layout.n_inputs; i++)
        CHECK(taken.count[i] == 1);
    wn_model_logits(model, hidden, 5, logits, panel);
    double expected = 0;
    for (int i = 0; i < 4; i++)
        expected += (double)hidden[4 + i] * element(model->config.tied ? 0 : HEAD, 12 + i);
    CHECK_NEAR(logits[10 + 3] / expected, 1, 1e-5);
    wn_free(scratch);
    wn_free(panel);
}

static void check_good(const struct entry *entries, const char *key, bool tied)
{
    char *folder = write_model(entries, key);
    struct wn_model *model;
    CHECK_OK(wn_model_open(folder, NULL, &model));
    if (model) {
        struct wn_block *block = wn_block_create(model);
        check_sizes(model, tied);
        CHECK_OK(wn_model_load_block(model, 0, block));
        CHECK(block->linears[0][3] == element(Q_PROJ, 3) && block->vectors[0][2] == element(NORM, 2));
        CHECK(!block->biases[0]);
        check_run(model, block);
        wn_block_destroy(&block, model);
        CHECK(!block);
        wn_block_destroy(&block, model);
    }
    wn_model_close(&model);
    CHECK(!model);
    wn_model_close(&model);
    folder_remove(folder);
}

static void check_not_finite(void)
{
    char *folder = write_model(ENTRIES, "false"), *path = wn_join_path(folder, "model.safetensors");
    const uint32_t nan = 0x7fc00000;
    struct wn_model *model;
    FILE *file = fopen(path, "r+b");
    /* the last number of post_attention_layernorm: after it come the final norm and the head */
    CHECK(file && fseek(file, -4 * (40 + 4 + 1), SEEK_END) == 0 && fwrite(&nan, 4, 1, file) == 1 && fclose(file) == 0);
    CHECK_OK(wn_model_open(folder, NULL, &model));
    struct wn_block *block = wn_block_create(model);
    CHECK(wn_model_load_block(model, 0, block) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("post_attention_layernorm.weight\": a value is not finite");
    wn_block_destroy(&block, model);
    wn_model_close(&model);
    folder_remove(folder);
    wn_free(path);
}

/* ---- sequences ---- */

static void check_chunks(const struct wn_sequences *s, int64_t n, const int64_t *chunk)
{
    CHECK(s->n_chunks == n);
    for (int64_t c = 0; c <= n && c <= s->n_chunks; c++)
        CHECK(s->chunk[c] == chunk[c]);
}

static void check_sequences(void)
{
    const int64_t lengths[] = {WN_CHUNK_TOKENS - 10, 10, 1, 3 * WN_CHUNK_TOKENS, 0, 5, 6};
    const int64_t chunks[] = {0, 2, 3, 4, 7};
    struct wn_sequences s;
    struct wn_chunk chunk;
    int32_t *ids = wn_alloc_zero(3 * WN_CHUNK_TOKENS, sizeof *ids);
    int64_t offset[8];
    wn_sequences_init(&s);
    wn_sequences_cut(&s);
    CHECK(s.n_chunks == 0 && wn_sequences_tokens(&s) == 0 && wn_sequences_longest_chunk(&s) == 0);
    for (int i = 0; i < 7; i++) {
        ids[0] = i;
        wn_sequences_append(&s, ids, lengths[i]);
    }
    wn_sequences_cut(&s);
    check_chunks(&s, 4, chunks);
    CHECK(wn_sequences_tokens(&s) == 4 * WN_CHUNK_TOKENS + 12);
    CHECK(wn_sequences_longest_chunk(&s) == 3 * WN_CHUNK_TOKENS);
    CHECK(wn_sequences_chunk(&s, 3, offset, &chunk) == 4 * WN_CHUNK_TOKENS + 1);
    CHECK(chunk.n_sequences == 3 && offset[0] == 0 && offset[1] == 0 && offset[2] == 5 && offset[3] == 11);
    CHECK(s.ids[s.offset[1]] == 1 && s.ids[s.offset[6]] == 6);
    wn_sequences_release(&s);
    wn_free(ids);
}

/* Many small sequences: the growth of the arrays. */
static void check_growth(void)
{
    struct wn_sequences s;
    wn_sequences_init(&s);
    for (int32_t i = 0; i < 3000; i++) {
        const int32_t ids[3] = {i, i + 1, i + 2};
        wn_sequences_append(&s, ids, i % 4);
    }
    wn_sequences_cut(&s);
    CHECK(s.n_sequences == 3000 && wn_sequences_tokens(&s) == 4500 && s.n_chunks == 3);
    for (int64_t i = 0; i < 3000; i++)
        for (int64_t j = 0; j < i % 4; j++)
            CHECK(s.ids[s.offset[i] + j] == i + j);
    wn_sequences_release(&s);
}

int main(void)
{
    struct entry no_head[N_ENTRIES];
    memcpy(no_head, ENTRIES, sizeof no_head);
    no_head[HEAD].name = NULL;
    CHECK_OK(wn_linalg_start());
    check_good(ENTRIES, "false", false);
    check_good(ENTRIES, "true", false); /* the head is another one than the embedding */
    check_good(no_head, "true", true);
    check_problem(write_model(no_head, "false"), 1, "\"lm_head.weight\" is missing", "\"tie_word_embeddings\" to true");
    check_tensor_mistakes();
    check_gathered();
    check_cap();
    check_not_finite();
    check_sequences();
    check_growth();
    return test_finish();
}

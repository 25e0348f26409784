/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logits of every checkpoint below tests/model/reference against transformers (make_reference.py), on 1 to 4 threads
 * with equal bits, and the same from sequences that are run piece by piece with their keys and values kept.
 * WINNOW_VERBOSE=1 prints the largest difference of each.
 */
#include <dirent.h>
#include <omp.h>

#include <winnow/linalg.h>
#include <winnow/model.h>

#include "test.h"

static const double TOLERANCE = 1e-4;

struct reference {
    int64_t n_sequences, tokens, n_rows, vocabulary;
    int64_t *offset, *rows; /* rows: packed rows whose logits are kept */
    int32_t *ids;
    float *logits; /* [n_rows, vocabulary] */
};

static float *floats_of(const struct wn_checkpoint *file, const char *name, int64_t *count)
{
    const struct wn_tensor *tensor = wn_checkpoint_find(file, name);
    CHECK(tensor && tensor->dtype == WN_F32);
    *count = tensor ? tensor->bytes / 4 : 0;
    float *values = wn_alloc(*count, sizeof *values);
    if (tensor)
        wn_tensor_to_float(tensor, 0, *count, values);
    return values;
}

static void read_reference(const char *directory, struct reference *r)
{
    struct wn_checkpoint *file;
    CHECK_OK(wn_checkpoint_open(directory, &file));
    int64_t n_logits;
    float *lengths = floats_of(file, "lengths", &r->n_sequences), *ids = floats_of(file, "ids", &r->tokens);
    float *rows = floats_of(file, "positions", &r->n_rows);
    r->logits = floats_of(file, "logits", &n_logits);
    r->vocabulary = n_logits / r->n_rows;
    r->offset = wn_alloc_zero(r->n_sequences + 1, sizeof *r->offset);
    r->rows = wn_alloc(r->n_rows, sizeof *r->rows);
    r->ids = wn_alloc(r->tokens, sizeof *r->ids);
    for (int64_t i = 0; i < r->n_sequences; i++)
        r->offset[i + 1] = r->offset[i] + (int64_t)lengths[i];
    for (int64_t i = 0; i < r->n_rows; i++)
        r->rows[i] = (int64_t)rows[i];
    for (int64_t i = 0; i < r->tokens; i++)
        r->ids[i] = (int32_t)ids[i];
    CHECK(r->offset[r->n_sequences] == r->tokens);
    wn_free(lengths);
    wn_free(ids);
    wn_free(rows);
    wn_checkpoint_close(&file);
}

static void release_reference(struct reference *r)
{
    wn_free(r->offset);
    wn_free(r->rows);
    wn_free(r->ids);
    wn_free(r->logits);
}

static void embed(const struct wn_model *model, const struct reference *r, float *hidden)
{
    int64_t *positions = wn_alloc(r->tokens, sizeof *positions);
    for (int64_t s = 0; s < r->n_sequences; s++)
        for (int64_t row = r->offset[s]; row < r->offset[s + 1]; row++)
            positions[row] = row - r->offset[s];
    wn_model_embed(model, r->ids, positions, r->tokens, hidden);
    wn_free(positions);
}

/* Logits of all rows, owned by the caller. */
static float *forward(const struct wn_model *model, const struct reference *r)
{
    int64_t width = model->config.hidden_size, vocabulary = model->config.vocab_size;
    struct wn_chunk chunk = {.n_sequences = r->n_sequences, .offset = r->offset};
    struct wn_block *block = wn_block_create(model);
    float *hidden = wn_alloc(r->tokens * width, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, r->tokens), sizeof *scratch);
    float *panel = wn_alloc(wn_model_head_scratch(model), sizeof *panel);
    float *logits = wn_alloc(r->tokens * vocabulary, sizeof *logits);
    embed(model, r, hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        wn_model_run_block(model, block, &chunk, hidden, scratch, NULL);
    }
    wn_model_final_norm(model, hidden, r->tokens, hidden);
    wn_model_logits(model, hidden, r->tokens, logits, panel);
    wn_block_destroy(&block, model);
    wn_free(hidden);
    wn_free(scratch);
    wn_free(panel);
    return logits;
}

static void check_threads(const struct wn_model *model, const struct reference *r, const float *logits)
{
    for (int threads = 2; threads <= 4; threads++) {
        test_set_threads(threads);
        float *again = forward(model, r);
        CHECK(!memcmp(again, logits, (size_t)(r->tokens * r->vocabulary) * sizeof *logits));
        wn_free(again);
    }
    omp_set_num_threads(1);
}

static void compare(const char *name, const struct reference *r, const float *logits)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < r->n_rows; i++)
        for (int64_t j = 0; j < r->vocabulary; j++) {
            double expected = r->logits[i * r->vocabulary + j];
            double difference = fabs(logits[r->rows[i] * r->vocabulary + j] - expected);
            worst = difference <= worst ? worst : difference; /* NaN is taken over */
            largest = fmax(largest, fabs(expected));
        }
    if (getenv("WINNOW_VERBOSE"))
        printf("%-20s largest logit %6.3f, largest difference %.2e\n", name, largest, worst);
    if (!(worst < TOLERANCE)) {
        test_failures++;
        fprintf(stderr, "%s: the largest difference of a logit is %g\n", name, worst);
    }
    CHECK(largest > 1);
}

/* ---- piece by piece ---- */

/* One block of all sequences, with the keys and values of their packed rows. */
struct pieces {
    const struct wn_model *model;
    const struct reference *reference;
    const struct wn_block *block;
    struct wn_past past;
    float *hidden, *packed, *scratch;
    int64_t *offset, *start, *keep, *first_span;
    struct wn_span *spans;
};

/* Pieces of a sequence: one half, the rest but its last two tokens, these one by one. */
static int64_t piece_begin(int64_t length, int piece)
{
    const int64_t begins[] = {0, length / 2, length - 2 > length / 2 ? length - 2 : length / 2, length - 1, length};
    return begins[piece];
}

/* Rows of piece `piece` of all sequences, to or from their places in `hidden`. */
static void copy_piece(struct pieces *p, int piece, bool back)
{
    int64_t width = p->model->config.hidden_size;
    for (int64_t s = 0; s < p->reference->n_sequences; s++) {
        int64_t first = p->reference->offset[s], length = p->reference->offset[s + 1] - first;
        float *here = p->hidden + (first + piece_begin(length, piece)) * width;
        float *packed = p->packed + p->offset[s] * width;
        memcpy(back ? here : packed, back ? packed : here,
               (size_t)((p->offset[s + 1] - p->offset[s]) * width) * sizeof *here);
    }
}

static void run_piece(struct pieces *p, int piece)
{
    const struct reference *r = p->reference;
    struct wn_chunk chunk = {.n_sequences = r->n_sequences, .offset = p->offset, .start = p->start, .past = &p->past};
    p->offset[0] = p->first_span[0] = 0;
    for (int64_t s = 0; s < r->n_sequences; s++) {
        int64_t length = r->offset[s + 1] - r->offset[s];
        int64_t begin = piece_begin(length, piece), spans = p->first_span[s];
        p->start[s] = begin;
        p->offset[s + 1] = p->offset[s] + piece_begin(length, piece + 1) - begin;
        p->keep[s] = r->offset[s] + begin;
        if (begin)
            p->spans[spans++] = (struct wn_span){r->offset[s], begin};
        p->first_span[s + 1] = spans;
    }
    copy_piece(p, piece, false);
    wn_model_run_block(p->model, p->block, &chunk, p->packed, p->scratch, NULL);
    copy_piece(p, piece, true);
}

static void open_pieces(struct pieces *p, const struct wn_model *model, const struct reference *r)
{
    int64_t width = model->config.hidden_size, slot = model->config.n_kv_heads * model->config.head_dim;
    *p = (struct pieces){.model = model, .reference = r};
    p->hidden = wn_alloc(r->tokens * width, sizeof(float));
    p->packed = wn_alloc(r->tokens * width, sizeof(float));
    p->scratch = wn_alloc(wn_model_scratch(model, r->tokens), sizeof(float));
    p->offset = wn_alloc(r->n_sequences + 1, sizeof(int64_t));
    p->start = wn_alloc(r->n_sequences, sizeof(int64_t));
    p->keep = wn_alloc(r->n_sequences, sizeof(int64_t));
    p->first_span = wn_alloc(r->n_sequences + 1, sizeof(int64_t));
    p->spans = wn_alloc(r->n_sequences, sizeof *p->spans);
    p->past = (struct wn_past){wn_alloc(r->tokens * slot, sizeof(float)), wn_alloc(r->tokens * slot, sizeof(float)),
                               p->spans, p->first_span, p->keep};
}

static void close_pieces(struct pieces *p)
{
    void *parts[] = {p->hidden, p->packed,     p->scratch, p->offset,    p->start,
                     p->keep,   p->first_span, p->spans,   p->past.keys, p->past.values};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        wn_free(parts[i]);
}

/* Final hidden states of all rows, owned by the caller. `whole`: every sequence at once. */
static float *hidden_states(const struct wn_model *model, const struct reference *r, bool whole)
{
    int64_t width = model->config.hidden_size;
    struct wn_chunk chunk = {.n_sequences = r->n_sequences, .offset = r->offset};
    struct wn_block *block = wn_block_create(model);
    struct pieces p;
    open_pieces(&p, model, r);
    p.block = block;
    embed(model, r, p.hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        for (int piece = 0; piece < 4 && !whole; piece++)
            run_piece(&p, piece);
        if (whole)
            wn_model_run_block(model, block, &chunk, p.hidden, p.scratch, NULL);
    }
    float *hidden = wn_alloc(r->tokens * width, sizeof *hidden);
    wn_model_final_norm(model, p.hidden, r->tokens, hidden);
    close_pieces(&p);
    wn_block_destroy(&block, model);
    return hidden;
}

static void check_pieces(const char *name, const struct wn_model *model, const struct reference *r)
{
    int64_t count = r->tokens * model->config.hidden_size;
    for (int64_t s = 0; s < r->n_sequences; s++)
        if (r->offset[s + 1] - r->offset[s] > wn_rope_limit(&model->config.rope))
            return; /* its keys depend on the length of the whole sequence */
    float *whole = hidden_states(model, r, true), *pieces = hidden_states(model, r, false);
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)whole[i] - pieces[i]);
        worst = difference <= worst ? worst : difference;
        largest = fmax(largest, fabs((double)whole[i]));
    }
    if (getenv("WINNOW_VERBOSE"))
        printf("%-20s piece by piece: largest state %6.3f, largest difference %.2e\n", name, largest, worst);
    CHECK_NEAR(worst / largest, 0, 3e-6);
    CHECK(worst > 0 || r->tokens < 8); /* other products, not the same ones */
    omp_set_num_threads(2);
    float *again = hidden_states(model, r, false);
    CHECK(!memcmp(again, pieces, (size_t)count * sizeof *pieces));
    omp_set_num_threads(1);
    wn_free(again);
    wn_free(whole);
    wn_free(pieces);
}

/* Compares the model of folder `path` with the logits below `place`. */
static void check_model(const char *name, const char *path, const char *place)
{
    struct reference reference;
    struct wn_model *model = NULL;
    read_reference(place, &reference);
    CHECK_OK(wn_model_open(path, NULL, &model));
    CHECK(model && model->config.vocab_size == reference.vocabulary);
    if (model && model->config.vocab_size == reference.vocabulary) {
        float *logits = forward(model, &reference);
        compare(name, &reference, logits);
        check_threads(model, &reference, logits);
        check_pieces(name, model, &reference);
        wn_free(logits);
    }
    wn_model_close(&model);
    release_reference(&reference);
}

/* The checkpoint is in `directory` or, when it is not kept, below ../shared/models. Returns whether it is anywhere. */
static bool check_case(const char *name, const char *directory)
{
    char *config = wn_join_path(directory, "config.json"), *place = wn_join_path(directory, "reference");
    char *shared_name = wn_format("models/%s", name), *shared = test_shared(shared_name);
    char *shared_config = wn_join_path(shared, "config.json");
    bool kept = wn_file_exists(config), found = kept || wn_file_exists(shared_config);
    if (found)
        check_model(name, kept ? directory : shared, place);
    wn_free(config);
    wn_free(place);
    wn_free(shared_name);
    wn_free(shared);
    wn_free(shared_config);
    return found;
}

int main(void)
{
    char *folder = test_path("tests/model/reference");
    DIR *stream = opendir(folder);
    int n_cases = 0;
    CHECK_OK(wn_linalg_start());
    omp_set_num_threads(1);
    CHECK(stream);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        if (entry->d_name[0] == '.')
            continue;
        char *directory = wn_join_path(folder, entry->d_name);
        n_cases += check_case(entry->d_name, directory);
        wn_free(directory);
    }
    CHECK(n_cases >= 34);
    if (stream)
        closedir(stream);
    wn_free(folder);
    return test_finish();
}

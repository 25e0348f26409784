/* SPDX-License-Identifier: Apache-2.0 */
/*
 * example.h: a small sweep for the tests of the results file: 40 points, every type of field, all kinds of axes. What
 * point p must hold is a function of (p, attempt) so that a reader can check each byte.
 */
#ifndef WINNOW_TEST_EXAMPLE_H
#define WINNOW_TEST_EXAMPLE_H

#include <winnow/results.h>

#include "test.h"

enum { POINTS = 40, CELLS = 50, BLOCKS = 3, LINEARS = 2, TOKENS = 300 };

#define EXAMPLE_TOKEN(t) (1000003 + 7 * (t))

struct example {
    struct wn_schema schema;
    struct wn_table points, cells;
    struct wn_facts facts;
    struct wn_results_plan plan;
    int zeros, error, loss, match, ids, length, reason, seconds;
};

static inline void example_tables(struct example *e)
{
    wn_table_init(&e->points, "/points", "point", POINTS);
    struct wn_column *key = wn_table_add(&e->points, "key", false, "", "name of the point");
    for (int p = 0; p < POINTS; p++) {
        char name[32];
        snprintf(name, sizeof name, "wanda-é-%02d", p);
        wn_table_set_text(&e->points, key, p, name);
    }
    struct wn_column *sparsity = wn_table_add(&e->points, "sparsity", true, "1", "share of zeros");
    for (int p = 1; p < POINTS; p++)
        sparsity->numbers[p] = p / 100.0;
    wn_table_add(&e->points, "bits", true, "bit", "bits per weight");
    struct wn_column *symmetric = wn_table_add(&e->points, "symmetric", true, "1", "a truth value");
    symmetric->boolean = true;
    symmetric->numbers[5] = 1;
    wn_table_init(&e->cells, "/cells", "cell", CELLS);
    struct wn_column *point = wn_table_add(&e->cells, "point", true, "1", "index of the point that answers the cell");
    for (int c = 0; c < CELLS; c++)
        point->numbers[c] = c % POINTS;
}

static inline void example_schema(struct example *e)
{
    static const char *const linears[LINEARS] = {"attn.q_proj", "mlp.up_proj"};
    struct wn_schema *s = &e->schema;

    wn_schema_init(s);
    int block = wn_schema_dim(s, "block", BLOCKS, NULL), linear = wn_schema_dim(s, "linear", LINEARS, linears);
    int token = wn_schema_dim(s, "token_wikitext2", TOKENS, NULL), none = wn_schema_dim(s, "empty", 0, NULL);
    int by_linear[] = {block, linear}, by_token[] = {token, none};
    e->zeros = wn_schema_field(s, "/weights/zeros", WN_FIELD_I64, 2, by_linear, "1", "zeros", true);
    e->error = wn_schema_field(s, "/weights/output_error", WN_FIELD_F64, 2, by_linear, "1", "output error", true);
    e->loss = wn_schema_field(s, "/tokens/wikitext2/loss", WN_FIELD_F32, 1, by_token, "nat", "loss", true);
    e->match = wn_schema_field(s, "/tokens/wikitext2/top1", WN_FIELD_U8, 1, by_token, "1", "same top token", true);
    e->ids = wn_schema_field(s, "/tokens/wikitext2/none", WN_FIELD_I32, 2, by_token, "1", "an empty field", true);
    e->length = wn_schema_field(s, "/scores/length", WN_FIELD_I32, 0, NULL, "1", "a number per point", true);
    e->reason = wn_schema_text(s, "/points/reason", 64, "why the point failed", false);
    wn_schema_text(s, "/points/host", 32, "where it ran", false);
    static const int64_t ranks[BLOCKS * LINEARS] = {5, 4, -1, 2, 1, 0};
    int32_t token_ids[TOKENS];
    for (int t = 0; t < TOKENS; t++)
        token_ids[t] = EXAMPLE_TOKEN(t);
    wn_schema_constant(s, "/tokens/wikitext2/token_id", WN_FIELD_I32, 1, by_token, "1", "token id", token_ids);
    wn_schema_constant(s, "/weights/rank", WN_FIELD_I64, 2, by_linear, "1", "rank of a linear, one is missing", ranks);
    wn_schema_constant(s, "/tokens/wikitext2/nothing", WN_FIELD_F32, 2, by_token, "1", "empty", NULL);
    e->seconds = wn_schema_field(s, "/points/seconds", WN_FIELD_F64, 0, NULL, "s", "wall time", false);
}

static inline void example_init(struct example *e, const char *identity)
{
    *e = (struct example){0};
    example_tables(e);
    example_schema(e);
    wn_facts_add(&e->facts, "winnow_version", "0.1.0");
    wn_facts_add(&e->facts, "compiler", "%s", "gcc 12.2");
    e->plan = (struct wn_results_plan){.schema = &e->schema,
                                       .points = &e->points,
                                       .cells = &e->cells,
                                       .sweep = "{\"name\": \"example\"}",
                                       .identity = identity,
                                       .provenance = &e->facts};
}

static inline void example_release(struct example *e)
{
    wn_schema_release(&e->schema);
    wn_table_release(&e->points);
    wn_table_release(&e->cells);
    wn_facts_release(&e->facts);
}

/* The record of point p as its attempt number `attempt` computes it; `seconds` is no result. */
static inline void example_fill(const struct example *e, struct wn_record *record, int64_t p, int attempt,
                                double seconds)
{
    char *reason = wn_format("point %lld: naïve", (long long)p);

    wn_record_clear(record);
    for (int i = 0; i < BLOCKS * LINEARS; i++) {
        wn_record_i64(record, e->zeros)[i] = 1000000 * attempt + 100 * p + i;
        wn_record_f64(record, e->error)[i] = i == 1 ? NAN : (double)p + attempt + i / 8.0;
    }
    for (int t = 0; t < TOKENS; t++) {
        wn_record_f32(record, e->loss)[t] = (float)(p * TOKENS + t) / 4 + (float)attempt;
        wn_record_u8(record, e->match)[t] = (uint8_t)((p + t + attempt) % 2);
    }
    wn_record_i32(record, e->length)[0] = (int32_t)(p == 3 ? -1 : 10 * p);
    wn_record_f64(record, e->seconds)[0] = seconds;
    wn_record_set_text(record, e->reason, reason);
    wn_free(reason);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of config.json: single values with their checks, and the set that most architectures share. */
#include <winnow/arch.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Larger than any model, small enough that products of three of them fit into 64 bits. */
enum { LARGEST_SIZE = 1 << 20, LARGEST_VOCABULARY = 1 << 24 };

/* ---- single values ---- */

/* NULL when absent or null. */
static const cJSON *find(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsNull(item) ? NULL : item;
}

bool wn_config_is_null(const cJSON *json, const char *key)
{
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(json, key));
}

static wn_status missing(const char *path, const char *key)
{
    return wn_fail(WN_ERR_INPUT, "%s: the key \"%s\" is missing", path, key);
}

static bool is_integer(const cJSON *item, int64_t low, int64_t high)
{
    return cJSON_IsNumber(item) && item->valuedouble == floor(item->valuedouble) && item->valuedouble >= (double)low &&
           item->valuedouble <= (double)high;
}

wn_status wn_config_integer(const char *path, const cJSON *json, const char *key, int64_t low, int64_t high,
                            int64_t fallback, int64_t *value)
{
    const cJSON *item = find(json, key);
    if (!item && fallback == WN_REQUIRED)
        return missing(path, key);
    if (item && !is_integer(item, low, high))
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": expected a whole number from %lld to %lld", path, key,
                       (long long)low, (long long)high);
    *value = item ? (int64_t)item->valuedouble : fallback;
    return WN_OK;
}

wn_status wn_config_positive(const char *path, const cJSON *json, const char *key, double fallback, double *value)
{
    const cJSON *item = find(json, key);
    if (!item && fallback == 0)
        return missing(path, key);
    if (item && !(cJSON_IsNumber(item) && isfinite(item->valuedouble) && item->valuedouble > 0))
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": expected a number above 0", path, key);
    *value = item ? item->valuedouble : fallback;
    return WN_OK;
}

wn_status wn_config_bool(const char *path, const cJSON *json, const char *key, bool fallback, bool *value)
{
    const cJSON *item = find(json, key);
    if (item && !cJSON_IsBool(item))
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": expected true or false", path, key);
    *value = item ? cJSON_IsTrue(item) : fallback;
    return WN_OK;
}

wn_status wn_config_text(const char *path, const cJSON *json, const char *key, const char *fallback, const char **value)
{
    const cJSON *item = find(json, key);
    if (!item && !fallback)
        return missing(path, key);
    if (item && !cJSON_IsString(item))
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": expected a string", path, key);
    *value = item ? item->valuestring : fallback;
    return WN_OK;
}

/* ---- the shared set ---- */

/* The model type's own name of a key where the file has it, else the usual one. */
static const char *name_of(const cJSON *json, const char *own, const char *usual)
{
    return own && find(json, own) ? own : usual;
}

/* What an absent key stands for: null is no value of the class's default. */
static int64_t default_of(const cJSON *json, const char *key, int64_t assumed, int64_t none)
{
    return wn_config_is_null(json, key) ? none : assumed;
}

static wn_status read_heads(const char *path, const cJSON *json, const struct wn_class_defaults *row,
                            struct wn_config *config)
{
    const char *heads = name_of(json, row->heads_key, "num_attention_heads");
    WN_TRY(wn_config_integer(path, json, heads, 1, 4096, WN_REQUIRED, &config->n_heads));
    int64_t fallback = default_of(json, "num_key_value_heads", row->kv_heads, 0);
    WN_TRY(wn_config_integer(path, json, "num_key_value_heads", 1, 4096, fallback ? fallback : config->n_heads,
                             &config->n_kv_heads));
    if (config->n_heads % config->n_kv_heads)
        return wn_fail(WN_ERR_INPUT, "%s: key \"num_key_value_heads\": %lld%s does not divide \"%s\", %lld", path,
                       (long long)config->n_kv_heads, find(json, "num_key_value_heads") ? "" : " (where it is absent)",
                       heads, (long long)config->n_heads);
    config->head_dim = 0;
    if (row->head_dim >= 0)
        WN_TRY(wn_config_integer(path, json, "head_dim", 1, 65536, default_of(json, "head_dim", row->head_dim, 0),
                                 &config->head_dim));
    if (config->head_dim == 0 && config->hidden_size % config->n_heads)
        return wn_fail(WN_ERR_INPUT,
                       "%s: key \"%s\": %lld does not divide \"hidden_size\", %lld, and there is no \"head_dim\"", path,
                       heads, (long long)config->n_heads, (long long)config->hidden_size);
    if (config->head_dim == 0)
        config->head_dim = config->hidden_size / config->n_heads;
    if (config->head_dim % 2)
        return wn_fail(WN_ERR_INPUT, "%s: key \"head_dim\": rotary positions need an even number, not %lld", path,
                       (long long)config->head_dim);
    return WN_OK;
}

static wn_status read_sizes(const char *path, const cJSON *json, const struct wn_class_defaults *row,
                            struct wn_config *config)
{
    const int64_t most = LARGEST_SIZE;
    WN_TRY(wn_config_integer(path, json, "vocab_size", 1, LARGEST_VOCABULARY, WN_REQUIRED, &config->vocab_size));
    WN_TRY(wn_config_integer(path, json, name_of(json, row->width_key, "hidden_size"), 1, most, WN_REQUIRED,
                             &config->hidden_size));
    WN_TRY(wn_config_integer(path, json, name_of(json, row->inner_key, "intermediate_size"), 1, most,
                             row->inner_factor ? row->inner_factor * config->hidden_size : WN_REQUIRED,
                             &config->intermediate_size));
    WN_TRY(wn_config_integer(path, json, name_of(json, row->blocks_key, "num_hidden_layers"), 1, 4096, WN_REQUIRED,
                             &config->n_blocks));
    WN_TRY(read_heads(path, json, row, config));
    return wn_config_integer(path, json, name_of(json, row->positions_key, "max_position_embeddings"), 1, INT32_MAX,
                             row->positions, &config->max_positions);
}

/* A list that does not fit the blocks is a mistake in every file; which classes go by it is theirs to say. */
static wn_status check_layer_types(const char *path, const cJSON *json, const struct wn_config *config)
{
    const cJSON *list = find(json, "layer_types"), *item;
    int64_t b = 0;
    if (!list)
        return WN_OK;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != config->n_blocks)
        return wn_fail(WN_ERR_INPUT, "%s: key \"layer_types\": expected a list of %lld strings", path,
                       (long long)config->n_blocks);
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item) ||
            (strcmp(item->valuestring, "full_attention") != 0 && strcmp(item->valuestring, "sliding_attention") != 0))
            return wn_fail(WN_ERR_INPUT,
                           "%s: key \"layer_types\": expected \"full_attention\" or \"sliding_attention\" for block "
                           "%lld",
                           path, (long long)b);
        b++;
    }
    return WN_OK;
}

static wn_status read_window(const char *path, const cJSON *json, const struct wn_class_defaults *row,
                             struct wn_config *config)
{
    bool used = true;
    WN_TRY(check_layer_types(path, json, config));
    WN_TRY(wn_config_integer(path, json, "sliding_window", 0, INT32_MAX,
                             default_of(json, "sliding_window", row->window, 0), &config->window));
    if (row->window_by_flag)
        WN_TRY(wn_config_bool(path, json, "use_sliding_window", false, &used));
    if (!used)
        config->window = 0;
    return WN_OK;
}

/* ---- rotary positions ---- */

static wn_status rope_kind(const char *path, const cJSON *json, enum wn_rope_kind *kind)
{
    static const char *const names[] = {"default", "linear", "dynamic", "llama3", "yarn", "longrope"}; /* as the enum */
    const size_t count = sizeof names / sizeof *names;
    const char *key = find(json, "rope_type") ? "rope_type" : "type", *name = "";
    WN_TRY(wn_config_text(path, json, key, "default", &name));
    if (!strcmp(name, "su") || (!strcmp(name, "yarn") && find(json, "short_factor")))
        name = "longrope"; /* as Phi-3's first files call it */
    for (size_t i = 0; i < count; i++)
        if (!strcmp(name, names[i])) {
            *kind = (enum wn_rope_kind)i;
            return WN_OK;
        }
    return wn_fail(
        WN_ERR_INPUT,
        "%s: key \"%s\": \"%s\" is not supported; supported are: default, linear, dynamic, llama3, yarn, longrope",
        path, key, name);
}

/* Where transformers' llama3, yarn and longrope measure from: the key at the top of config.json wins over the one
 * inside, and without both it is max_position_embeddings. */
static wn_status read_original(const char *path, const cJSON *top, const cJSON *json, const struct wn_config *config,
                               struct wn_rope *rope)
{
    const char *key = "original_max_position_embeddings";
    return wn_config_integer(path, find(top, key) ? top : json, key, 1, INT32_MAX, config->max_positions,
                             &rope->original_max_positions);
}

static wn_status read_llama3(const char *path, const cJSON *json, struct wn_rope *rope)
{
    WN_TRY(wn_config_positive(path, json, "low_freq_factor", 0, &rope->low_freq_factor));
    WN_TRY(wn_config_positive(path, json, "high_freq_factor", 0, &rope->high_freq_factor));
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return wn_fail(WN_ERR_INPUT, "%s: key \"high_freq_factor\": expected more than \"low_freq_factor\"", path);
    return WN_OK;
}

static wn_status read_yarn(const char *path, const cJSON *json, struct wn_rope *rope)
{
    double scale = 0, scale_all = 0;
    WN_TRY(wn_config_positive(path, json, "beta_fast", 32, &rope->beta_fast));
    WN_TRY(wn_config_positive(path, json, "beta_slow", 1, &rope->beta_slow));
    WN_TRY(wn_config_bool(path, json, "truncate", true, &rope->truncate));
    if (find(json, "mscale") && find(json, "mscale_all_dim")) {
        WN_TRY(wn_config_positive(path, json, "mscale", 1, &scale));
        WN_TRY(wn_config_positive(path, json, "mscale_all_dim", 1, &scale_all));
    }
    double slope = wn_rope_yarn_attention_factor(rope->factor) - 1;
    double fallback = scale > 0 ? (1 + scale * slope) / (1 + scale_all * slope) : 1 + slope;
    return wn_config_positive(path, json, "attention_factor", fallback, &rope->attention_factor);
}

/* A list of one positive number for each of `pairs`. */
static wn_status read_factors(const char *path, const cJSON *json, const char *key, int64_t pairs, float *factors)
{
    const cJSON *list = find(json, key), *item;
    int64_t count = 0;
    if (!list)
        return missing(path, key);
    cJSON_ArrayForEach (item, list)
        if (cJSON_IsNumber(item) && item->valuedouble > 0 && count < pairs)
            factors[count++] = (float)item->valuedouble;
    if (!cJSON_IsArray(list) || count != pairs || cJSON_GetArraySize(list) != pairs)
        return wn_fail(WN_ERR_INPUT,
                       "%s: key \"%s\": expected a list of %lld numbers above 0, one for each pair that is "
                       "rotated",
                       path, key, (long long)pairs);
    return WN_OK;
}

static wn_status read_longrope(const char *path, const cJSON *json, int64_t pairs, struct wn_rope *rope)
{
    if (pairs > WN_ROPE_PAIRS)
        return wn_fail(WN_ERR_INPUT, "%s: longrope rotates at most %d numbers of a head, not %lld", path,
                       2 * WN_ROPE_PAIRS, 2 * (long long)pairs);
    WN_TRY(read_factors(path, json, "short_factor", pairs, rope->short_factor));
    WN_TRY(read_factors(path, json, "long_factor", pairs, rope->long_factor));
    double fallback = wn_rope_longrope_attention_factor(rope->factor, rope->original_max_positions);
    return wn_config_positive(path, json, "attention_factor", fallback, &rope->attention_factor);
}

/* `json` is the object rope_parameters or rope_scaling of the file `top`; `path` names it in messages. */
static wn_status read_rope_object(const char *path, const cJSON *top, const cJSON *json, struct wn_config *config,
                                  double *part)
{
    struct wn_rope *rope = &config->rope;
    if (!cJSON_IsObject(json))
        return wn_fail(WN_ERR_INPUT, "%s: expected an object", path);
    WN_TRY(rope_kind(path, json, &rope->kind));
    WN_TRY(wn_config_positive(path, json, "rope_theta", rope->theta, &rope->theta));
    WN_TRY(wn_config_positive(path, json, "partial_rotary_factor", *part, part));
    rope->dims = (int64_t)((double)config->head_dim * *part); /* longrope counts them */
    if (rope->kind == WN_ROPE_DEFAULT)
        return WN_OK;
    bool may_lack = rope->kind == WN_ROPE_YARN || rope->kind == WN_ROPE_LONGROPE;
    if (may_lack || rope->kind == WN_ROPE_LLAMA3)
        WN_TRY(read_original(path, top, json, config, rope));
    double ratio = (double)config->max_positions / (double)rope->original_max_positions;
    WN_TRY(wn_config_positive(path, json, "factor", may_lack ? ratio : 0, &rope->factor));
    if (rope->kind == WN_ROPE_LONGROPE)
        return read_longrope(path, json, rope->dims / 2, rope);
    if (rope->factor < 1)
        return wn_fail(WN_ERR_INPUT, "%s: key \"factor\": expected a number of at least 1", path);
    if (rope->kind == WN_ROPE_DYNAMIC && rope->dims < 4)
        return wn_fail(WN_ERR_INPUT, "%s: key \"rope_type\": dynamic needs a \"head_dim\" of at least 4", path);
    if (rope->kind == WN_ROPE_YARN)
        return read_yarn(path, json, rope);
    return rope->kind == WN_ROPE_LLAMA3 ? read_llama3(path, json, rope) : WN_OK;
}

/* An empty object is as good as none. */
static bool is_given(const cJSON *json, const char *key)
{
    const cJSON *item = find(json, key);
    return item && !(cJSON_IsObject(item) && !item->child);
}

static wn_status read_rope(const char *path, const cJSON *json, const struct wn_class_defaults *row,
                           struct wn_config *config)
{
    struct wn_rope *rope = &config->rope;
    double part = 1;
    *rope = (struct wn_rope){.kind = WN_ROPE_DEFAULT, .factor = 1, .original_max_positions = config->max_positions};
    const char *part_key = row->part_key ? row->part_key : "partial_rotary_factor"; /* a usual name is not read */
    const char *theta_key = row->theta_key ? row->theta_key : "rope_theta";
    WN_TRY(wn_config_positive(path, json, theta_key, row->theta, &rope->theta));
    WN_TRY(wn_config_positive(path, json, part_key, row->part, &part));
    const char *key = is_given(json, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    if (is_given(json, key)) {
        char *place = wn_format("%s: key \"%s\"", path, key);
        wn_status status = read_rope_object(place, json, find(json, key), config, &part);
        wn_free(place);
        WN_TRY(status);
    }
    if (part != 1 && !row->may_rotate_part)
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": only 1 is supported, not %g", path, part_key, part);
    rope->dims = (int64_t)((double)config->head_dim * part);
    if (rope->dims < 2 || rope->dims > config->head_dim || rope->dims % 2)
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": %g of a head of %lld is %lld, not an even number of them", path,
                       part_key, part, (long long)config->head_dim, (long long)rope->dims);
    return WN_OK;
}

/* ---- the rest ---- */

wn_status wn_config_eos(const char *path, const cJSON *json, int64_t fallback, struct wn_config *config)
{
    const cJSON *eos = find(json, "eos_token_id"), *item;
    const int64_t most = sizeof config->eos_ids / sizeof config->eos_ids[0];
    config->n_eos_ids = 0;
    if (!cJSON_IsArray(eos)) {
        WN_TRY(wn_config_integer(path, json, "eos_token_id", -1, INT32_MAX,
                                 default_of(json, "eos_token_id", fallback, -1), &config->eos_ids[0]));
        config->n_eos_ids = config->eos_ids[0] >= 0;
        return WN_OK;
    }
    cJSON_ArrayForEach (item, eos) {
        if (!is_integer(item, 0, INT32_MAX) || config->n_eos_ids == most)
            return wn_fail(WN_ERR_INPUT, "%s: key \"eos_token_id\": expected a token id or a list of at most %lld",
                           path, (long long)most);
        config->eos_ids[config->n_eos_ids++] = (int64_t)item->valuedouble;
    }
    return WN_OK;
}

wn_status wn_arch_read_common(const char *path, const cJSON *json, struct wn_config *config)
{
    const struct wn_class_defaults *row = wn_class_defaults(config->model_type);
    const char *dtype = "";
    WN_TRY(read_sizes(path, json, row, config));
    WN_TRY(wn_config_positive(path, json, row->eps_key, row->eps, &config->norm_eps));
    WN_TRY(read_rope(path, json, row, config));
    WN_TRY(read_window(path, json, row, config));
    WN_TRY(wn_config_bool(path, json, "tie_word_embeddings", row->tied, &config->tied));
    WN_TRY(wn_config_integer(path, json, "bos_token_id", -1, INT32_MAX, default_of(json, "bos_token_id", row->bos, -1),
                             &config->bos_id));
    WN_TRY(wn_config_eos(path, json, row->eos, config));
    WN_TRY(wn_config_text(path, json, find(json, "dtype") ? "dtype" : "torch_dtype", "", &dtype));
    snprintf(config->dtype, sizeof config->dtype, "%s", dtype);
    return WN_OK;
}

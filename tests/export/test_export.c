/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exported points of the demo model. Read again as the model of another sweep they give the perplexity of the point,
 * exactly; the code form gives the weights of the checkpoint, bit for bit; shards hold the same tensors.
 */
#include <dirent.h>
#include <sys/stat.h>

#include <winnow/export.h>
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

static char folder[] = "/tmp/winnow_export.XXXXXX";

static const char *const grid_text =
    "{\"method\": \"magnitude\", \"sparsity\": 0.5},"
    "{\"method\": \"wanda\", \"pattern\": \"2:4\"},"
    "{\"method\": \"wanda\", \"sparsity\": 0.5, \"propagation\": \"dense\"},"
    "{\"method\": \"wanda\", \"sparsity\": 0.5, \"allocation\": \"owl\"},"
    "{\"method\": \"rtn\", \"bits\": 4, \"group\": 32},"
    "{\"method\": \"rtn\", \"bits\": 8, \"group\": [\"channel\", \"tensor\"]},"
    "{\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"rtn\", \"bits\": 3, \"group\": 32},"
    "{\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"gptq\", \"bits\": 4, \"group\": 32,"
    " \"act_order\": true, \"static_groups\": true},"
    "{\"method\": \"sparsegpt\", \"pattern\": \"2:4\", \"bits\": 4},"
    "{\"method\": \"spqr\", \"bits\": 3}, {\"method\": \"awq\", \"bits\": 4, \"group\": 32},"
    "{\"method\": \"drop\", \"sparsity\": 0.4}";

enum {
    DENSE,
    MAGNITUDE,
    WANDA,
    WANDA_DENSE,
    WANDA_OWL,
    RTN,
    RTN_CHANNEL,
    RTN_TENSOR,
    JOINT,
    GPTQ,
    SPARSEGPT,
    SPQR,
    AWQ,
    DROP,
    POINTS
};

/* ---- sweeps ---- */

static int run_sweep(const char *model, const char *grid, const char *output)
{
    char *path = wn_format("%s/sweep.json", folder);
    FILE *file = fopen(path, "w");
    int code;

    fprintf(file,
            "{\"model\": \"%s\", \"calibration\": {\"general\": {\"text\": \"%s/sweeps/demo/data/"
            "general_calibration.jsonl\", \"samples\": 8, \"length\": 64}}, \"grid\": [%s], \"evaluate\": "
            "{\"perplexity\": {\"world\": {\"text\": \"%s/sweeps/demo/data/general_eval.txt\", \"length\": 128, "
            "\"windows\": 4}}, \"divergence\": {\"on\": [\"world\"]}}}",
            model, WN_SOURCE_DIR, grid, WN_SOURCE_DIR);
    fclose(file);
    code = test_run_sweep(path, output);
    wn_free(path);
    return code;
}

static double perplexity(const char *file, int64_t point)
{
    struct wn_results_reader *reader;
    double *values = NULL, value = NAN;
    int64_t rows = 0;

    CHECK_OK(wn_results_read_open(file, &reader));
    CHECK_OK(wn_results_read_numbers(reader, "/scores/world/perplexity", &values, &rows));
    if (point < rows)
        value = values[point];
    wn_free(values);
    wn_results_read_close(&reader);
    return value;
}

static wn_status export_point(int64_t point, const char *to, const char *dtype, int64_t shard)
{
    struct wn_problems problems;
    char *results = wn_format("%s/results.h5", folder), *number = wn_format("%lld", (long long)point);
    const struct wn_export_options options = {
        .results = results, .point = number, .directory = to, .dtype = dtype, .shard_bytes = shard};

    wn_problems_init(&problems);
    wn_status status = wn_export(&options, &problems);
    CHECK(problems.count == 0);
    wn_problems_release(&problems);
    wn_free(results);
    wn_free(number);
    return status;
}

/* ---- the code form ---- */

/* Opens winnow_codes.safetensors as if it were a checkpoint. */
static struct wn_checkpoint *open_codes(const char *directory)
{
    char *place = wn_format("%s/codes", directory), *from = wn_format("%s/winnow_codes.safetensors", directory),
         *to = wn_format("%s/model.safetensors", place);
    struct wn_checkpoint *codes = NULL;

    CHECK(mkdir(place, 0777) == 0 && link(from, to) == 0);
    CHECK_OK(wn_checkpoint_open(place, &codes));
    CHECK(unlink(to) == 0 && rmdir(place) == 0);
    wn_free(place);
    wn_free(from);
    wn_free(to);
    return codes;
}

static const struct wn_tensor *part_of(const struct wn_checkpoint *codes, const char *linear, const char *part)
{
    char *name = wn_format("%s.%s", linear, part);
    const struct wn_tensor *tensor = wn_checkpoint_find(codes, name);

    wn_free(name);
    return tensor;
}

/* What the code form has of one linear; NULL: not there. */
struct parts {
    const struct wn_tensor *mask, *codes, *scales, *zeros, *order, *outlier_index, *outlier_value, *input_scale;
};

static struct parts parts_of(const struct wn_checkpoint *codes, const char *linear)
{
    return (struct parts){
        .mask = part_of(codes, linear, "mask"),
        .codes = part_of(codes, linear, "codes"),
        .scales = part_of(codes, linear, "scales"),
        .zeros = part_of(codes, linear, "zeros"),
        .order = part_of(codes, linear, "order"),
        .outlier_index = part_of(codes, linear, "outlier_index"),
        .outlier_value = part_of(codes, linear, "outlier_value"),
        .input_scale = part_of(codes, linear, "input_scale"),
    };
}

/* The place of a column in the order of the groups. */
static int64_t place_of(const struct parts *parts, int64_t column)
{
    int64_t place = column;

    for (int64_t k = 0; parts->order && k < parts->order->shape[0]; k++) {
        int64_t other;
        memcpy(&other, parts->order->data + k * 8, sizeof other);
        if (other == column)
            place = k;
    }
    return place;
}

/* True when weight `index` is an outlier, with its value. */
static bool find_outlier(const struct parts *parts, int64_t index, float *value)
{
    const struct wn_tensor *places = parts->outlier_index;
    int64_t low = 0, high = places ? places->shape[0] : 0, there;

    while (low < high) {
        int64_t middle = (low + high) / 2;
        memcpy(&there, places->data + middle * 8, sizeof there);
        if (there == index) {
            wn_tensor_to_float(parts->outlier_value, middle, 1, value);
            return true;
        }
        if (there < index)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* scale * (code - zero) of weight (row, column), by the grids' shape alone; `place` of the column among the groups. */
static float decode(const struct parts *parts, int64_t row, int64_t column, int64_t place)
{
    int64_t columns = parts->codes->shape[1], grid = 0;
    struct wn_grid values;
    float outlier, divisor = 1;

    if (find_outlier(parts, row * columns + column, &outlier))
        return outlier;
    if (parts->input_scale)
        wn_tensor_to_float(parts->input_scale, column, 1, &divisor);
    if (parts->scales->n_dims == 2)
        grid = row * parts->scales->shape[1] + place / (columns / parts->scales->shape[1]);
    wn_tensor_to_float(parts->scales, grid, 1, &values.scale);
    wn_tensor_to_float(parts->zeros, grid, 1, &values.zero);
    return wn_grid_value(&values, parts->codes->data[row * columns + column]) / divisor;
}

static void check_linear(const struct wn_tensor *dense, const struct wn_tensor *exported,
                         const struct wn_checkpoint *codes, const char *linear, bool masked, bool coded, double slack)
{
    int64_t rows = dense->shape[0], columns = dense->shape[1], different = 0, zeros = 0;
    const struct parts parts = parts_of(codes, linear);
    const uint8_t *mask = parts.mask ? parts.mask->data : NULL;

    CHECK((mask != NULL) == masked && (parts.codes != NULL) == coded);
    for (int64_t j = 0; j < columns; j++) {
        int64_t place = place_of(&parts, j);
        for (int64_t row = 0; row < rows; row++) {
            bool kept = !mask || mask[row * ((columns + 7) / 8) + j / 8] >> (j % 8) & 1;
            float expected = 0, found;
            if (kept && coded)
                expected = decode(&parts, row, j, place);
            else if (kept)
                wn_tensor_to_float(dense, row * columns + j, 1, &expected);
            wn_tensor_to_float(exported, row * columns + j, 1, &found);
            different += memcmp(&expected, &found, sizeof found) != 0;
            zeros += !kept;
        }
    }
    CHECK(different == 0);
    CHECK_NEAR((double)zeros / (double)(rows * columns), masked ? 0.5 : 0, slack);
}

/* slack: how far the share of zeros may be from half. */
static void check_codes(const struct wn_model *dense, const char *directory, bool masked, bool coded, double slack)
{
    struct wn_model *exported;
    struct wn_checkpoint *codes = open_codes(directory);
    CHECK_OK(wn_model_open(directory, NULL, &exported));
    for (int64_t b = 0; b < dense->config.n_blocks; b++)
        for (int l = 0; l < dense->layout.n_linears; l++) {
            char *linear = wn_format("model.layers.%lld.%s", (long long)b, dense->layout.linears[l].name);
            check_linear(part_of(dense->checkpoint, linear, "weight"), part_of(exported->checkpoint, linear, "weight"),
                         codes, linear, masked, coded, slack);
            wn_free(linear);
        }
    wn_checkpoint_close(&codes);
    wn_model_close(&exported);
}

/* ---- whole directories ---- */

/* Equal tensors, whatever the files. */
static void check_same_tensors(const char *one, const char *two)
{
    struct wn_checkpoint *left, *right;

    CHECK_OK(wn_checkpoint_open(one, &left));
    CHECK_OK(wn_checkpoint_open(two, &right));
    CHECK(wn_checkpoint_count(left) == wn_checkpoint_count(right));
    for (int64_t i = 0; i < wn_checkpoint_count(left); i++) {
        const struct wn_tensor *a = wn_checkpoint_at(left, i), *b = wn_checkpoint_find(right, a->name);
        CHECK(b && a->dtype == b->dtype && a->bytes == b->bytes && memcmp(a->data, b->data, (size_t)a->bytes) == 0);
    }
    wn_checkpoint_close(&left);
    wn_checkpoint_close(&right);
}

static int64_t remove_files(const char *directory)
{
    DIR *listing = opendir(directory);
    struct dirent *entry;
    int64_t count = 0;

    while (listing && (entry = readdir(listing))) {
        char *path = wn_format("%s/%s", directory, entry->d_name);
        count += entry->d_name[0] != '.' && unlink(path) == 0;
        wn_free(path);
    }
    if (listing)
        closedir(listing);
    CHECK(rmdir(directory) == 0);
    return count;
}

static void check_point(const struct wn_model *dense, const char *results, int64_t point)
{
    char *to = wn_format("%s/point", folder), *again = wn_format("%s/again.h5", folder);

    CHECK_OK(export_point(point, to, "f32", 0));
    CHECK(run_sweep(to, "{\"method\": \"none\"}", again) == 0);
    CHECK(perplexity(again, 0) == perplexity(results, point));
    if (point == DENSE)
        check_same_tensors(to, dense->directory);
    else if (point != DROP)
        check_codes(dense, to, point <= WANDA_OWL || (point >= JOINT && point <= SPARSEGPT), point >= RTN,
                    point == WANDA_OWL ? 2 * 0.08 : 0);
    CHECK(remove_files(to) == (point == DENSE || point == DROP ? 5 : 6));
    unlink(again);
    wn_free(to);
    wn_free(again);
}

/* Many shards, and 16 bits: the dtype that was asked for, everywhere. */
static void check_shards(const struct wn_model *dense)
{
    char *whole = wn_format("%s/whole", folder), *shards = wn_format("%s/shards", folder);
    struct wn_model *model;
    const char *const *files;

    CHECK_OK(export_point(JOINT, whole, "bf16", 0));
    CHECK_OK(export_point(JOINT, shards, "bf16", 300000));
    check_same_tensors(whole, shards);
    CHECK_OK(wn_model_open(shards, NULL, &model));
    CHECK(wn_checkpoint_files(model->checkpoint, &files) > 5);
    CHECK_TEXT(model->config.dtype, "bfloat16");
    for (int64_t i = 0; i < wn_checkpoint_count(model->checkpoint); i++)
        CHECK(wn_checkpoint_at(model->checkpoint, i)->dtype == WN_BF16);
    CHECK(wn_model_parameters(model) == wn_model_parameters(dense));
    wn_model_close(&model);
    remove_files(whole);
    remove_files(shards);
    wn_free(whole);
    wn_free(shards);
}

static void check_refused(void)
{
    char *to = wn_format("%s/point", folder), *file = wn_format("%s/point/file", folder);

    CHECK(export_point(POINTS, to, NULL, 0) == WN_ERR_INPUT);
    CHECK_MESSAGE("there is no point 14; expected a number from 0 to 13");
    CHECK(export_point(MAGNITUDE, to, "f64", 0) == WN_ERR_INPUT);
    CHECK_MESSAGE("dtype \"f64\": expected f32, bf16, f16 or source");
    CHECK(mkdir(to, 0777) == 0);
    CHECK(symlink("nowhere", file) == 0);
    CHECK(export_point(MAGNITUDE, to, NULL, 0) == WN_ERR_INPUT);
    CHECK_MESSAGE("is there already and is not empty");
    CHECK(unlink(file) == 0);
    CHECK_OK(export_point(MAGNITUDE, to, NULL, 0)); /* into the empty folder */
    CHECK(remove_files(to) == 6);
    wn_free(file);
    wn_free(to);
}

int main(void)
{
    struct wn_model *dense;
    char *demo = test_path("sweeps/demo/model"), *results, *sweep;

    wn_log_set(WN_LOG_ERROR, 0, 1);
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    results = wn_format("%s/results.h5", folder);
    sweep = wn_format("%s/sweep.json", folder);
    CHECK(run_sweep(demo, grid_text, results) == 0);
    CHECK_OK(wn_model_open(demo, NULL, &dense));
    for (int64_t point = 0; point < POINTS; point++)
        check_point(dense, results, point);
    check_shards(dense);
    check_refused();
    wn_model_close(&dense);
    unlink(results);
    unlink(sweep);
    CHECK(rmdir(folder) == 0);
    wn_free(demo);
    wn_free(results);
    wn_free(sweep);
    return test_finish();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products in bf16 by oneDNN, which is loaded when a sweep asks for them: it is no part of a build without its headers,
 * and a build with them runs where the library is missing. One primitive, made for shapes that are known when it is
 * called, serves all tiles: it needs no memory of its own, so threads may share it.
 */
#include "bf16.h"

#include <winnow/linalg.h>

void wn_all_to_bf16(const float *x, int64_t count, uint16_t *out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = wn_to_bf16(x[i]);
}

void wn_round_to_bf16(const float *x, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = wn_from_bf16(wn_to_bf16(x[i]));
}

#ifdef WINNOW_ONEDNN
#include <dlfcn.h>
#include <dnnl.h>
#include <stdio.h>

/* All that is called of it. */
#define FUNCTIONS(X)                                                                                                   \
    X(engine_create)                                                                                                   \
    X(get_effective_cpu_isa)                                                                                           \
    X(version)                                                                                                         \
    X(memory_desc_init_by_strides)                                                                                     \
    X(matmul_desc_init)                                                                                                \
    X(primitive_attr_create)                                                                                           \
    X(primitive_attr_set_scratchpad_mode)                                                                              \
    X(primitive_attr_destroy)                                                                                          \
    X(primitive_desc_create)                                                                                           \
    X(primitive_desc_destroy)                                                                                          \
    X(primitive_desc_query_md)                                                                                         \
    X(memory_desc_get_size)                                                                                            \
    X(primitive_create)                                                                                                \
    X(primitive_execute)                                                                                               \
    X(memory_create)                                                                                                   \
    X(memory_destroy)                                                                                                  \
    X(stream_create)                                                                                                   \
    X(stream_destroy)                                                                                                  \
    X(stream_wait)

static struct {
#define X(name) __typeof__(dnnl_##name) *name;
    FUNCTIONS(X)
#undef X
    dnnl_engine_t engine;
    dnnl_primitive_t product;
} lib;

/* The part of wn_linalg_protocol; empty: not started. */
static char protocol[64];

static const char *name_of_isa(dnnl_cpu_isa_t isa)
{
    return isa == dnnl_cpu_isa_avx512_core_bf16                                   ? "avx512_core_bf16"
           : isa == dnnl_cpu_isa_avx512_core_amx                                  ? "avx512_core_amx"
           : (isa & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx ? "amx"
                                                                                  : "bf16";
}

/* A matrix [rows, columns] of which both strides are given. */
static dnnl_memory_desc_t describe(int64_t rows, int64_t columns, dnnl_data_type_t type, int64_t row, int64_t column)
{
    dnnl_memory_desc_t about;
    const dnnl_dims_t size = {rows, columns}, strides = {row, column};
    if (lib.memory_desc_init_by_strides(&about, 2, size, type, strides) != dnnl_success)
        WN_BUG("oneDNN refuses a matrix of %lld x %lld", (long long)rows, (long long)columns);
    return about;
}

static wn_status load(void)
{
    static const char file[] = WINNOW_ONEDNN;
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return wn_fail(WN_ERR_UNSUPPORTED,
                       "\"compute\": \"bf16\" needs the library oneDNN, and %s cannot be loaded: install it (Debian, "
                       "Ubuntu: libdnnl-dev), or leave the key out",
                       file);
#define X(name)                                                                                                        \
    *(void **)&lib.name = dlsym(handle, "dnnl_" #name);                                                                \
    if (!lib.name)                                                                                                     \
        return wn_fail(WN_ERR_UNSUPPORTED, "%s has no dnnl_%s: install oneDNN %d", file, #name, DNNL_VERSION_MAJOR);
    FUNCTIONS(X)
#undef X
    return WN_OK;
}

static wn_status make_product(void)
{
    const int64_t any = DNNL_RUNTIME_DIM_VAL;
    dnnl_memory_desc_t x = describe(any, any, dnnl_bf16, any, 1), w = describe(any, any, dnnl_bf16, 1, any);
    dnnl_memory_desc_t y = describe(any, any, dnnl_f32, any, 1);
    dnnl_matmul_desc_t about;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t description = NULL;
    bool good = lib.engine_create(&lib.engine, dnnl_cpu, 0) == dnnl_success &&
                lib.matmul_desc_init(&about, &x, &w, NULL, &y) == dnnl_success &&
                lib.primitive_attr_create(&attributes) == dnnl_success &&
                lib.primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user) == dnnl_success &&
                lib.primitive_desc_create(&description, &about, attributes, lib.engine, NULL) == dnnl_success;
    /* Memory of a primitive would be one for all threads. */
    good = good && lib.memory_desc_get_size(lib.primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0)) == 0;
    good = good && lib.primitive_create(&lib.product, description) == dnnl_success;
    lib.primitive_attr_destroy(attributes);
    lib.primitive_desc_destroy(description);
    return good ? WN_OK
                : wn_fail(WN_ERR_UNSUPPORTED, "\"compute\": \"bf16\": this oneDNN has no product of bf16 matrices of "
                                              "any shape: install version 2.6 or leave the key out");
}

/* Without the instructions a product is put together from fp32 ones and takes longer than in fp32. */
static wn_status check_processor(void)
{
    dnnl_cpu_isa_t isa = lib.get_effective_cpu_isa();
    if ((isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16)
        return WN_OK;
    return wn_fail(WN_ERR_UNSUPPORTED, "\"compute\": \"bf16\": this processor has no products of bf16 (AVX512_BF16 or "
                                       "AMX), or DNNL_MAX_CPU_ISA forbids them: leave the key out");
}

/* Whole numbers up to 256 are exact in bf16, and their sums in fp32. */
static wn_status check_products(void)
{
    static const int64_t shapes[][3] = {{WN_TILE_ROWS, WN_TILE_COLUMNS, 600}, {77, 131, 67}, {3, 29, 300}, {1, 70, 45}};
    bool good = true;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && good; i++) {
        const int64_t rows = shapes[i][0], out = shapes[i][1], in = shapes[i][2];
        float *x = wn_alloc(rows * in, sizeof *x), *w = wn_alloc(out * in, sizeof *w);
        float *y = wn_alloc(rows * out, sizeof *y);
        for (int64_t k = 0; k < rows * in; k++)
            x[k] = (float)(k * 37 % 251 - 125);
        for (int64_t k = 0; k < out * in; k++)
            w[k] = (float)(k * 53 % 241 - 120);
        const int64_t row[] = {0, rows};
        const struct wn_linear_map map = {.w = w, .out = out, .y = y, .stride = out};
        wn_linears_by(WN_COMPUTE_BF16, x, 1, row, in, &map, 1);
        for (int64_t r = 0; r < rows && good; r += 7)
            for (int64_t c = 0; c < out && good; c++) {
                double sum = 0;
                for (int64_t k = 0; k < in; k++)
                    sum += (double)x[r * in + k] * w[c * in + k];
                good = y[r * out + c] == (float)sum;
            }
        wn_free(x);
        wn_free(w);
        wn_free(y);
    }
    return good ? WN_OK
                : wn_fail(WN_ERR_UNSUPPORTED, "\"compute\": \"bf16\": oneDNN multiplies wrongly on this processor: "
                                              "update it, or leave the key out");
}

wn_status wn_bf16_start(void)
{
    if (protocol[0])
        return WN_OK;
    WN_TRY(load());
    WN_TRY(check_processor());
    /* Kernels are chosen for the number of threads at hand. */
    int threads = wn_blas_begin();
    wn_status status = make_product();
    wn_blas_end(threads);
    if (status != WN_OK || (status = check_products()) != WN_OK)
        return status;
    const dnnl_version_t *version = lib.version();
    snprintf(protocol, sizeof protocol, "linears in bf16 by onednn %d.%d.%d %s", version->major, version->minor,
             version->patch, name_of_isa(lib.get_effective_cpu_isa()));
    return WN_OK;
}

const char *wn_bf16_protocol(void)
{
    return protocol;
}

struct wn_bf16_stream {
    dnnl_stream_t stream;
};

struct wn_bf16_stream *wn_bf16_stream_create(void)
{
    struct wn_bf16_stream *stream = wn_alloc(1, sizeof *stream);
    if (!lib.product || lib.stream_create(&stream->stream, lib.engine, dnnl_stream_default_flags) != dnnl_success)
        WN_BUG("products in bf16 without wn_bf16_start");
    return stream;
}

void wn_bf16_stream_destroy(struct wn_bf16_stream *stream)
{
    if (stream)
        lib.stream_destroy(stream->stream);
    wn_free(stream);
}

void wn_bf16_product(struct wn_bf16_stream *stream, const uint16_t *x, int64_t rows, int64_t in, const uint16_t *w,
                     int64_t out, float *y, int64_t stride)
{
    const dnnl_memory_desc_t about[] = {describe(rows, in, dnnl_bf16, in, 1), describe(in, out, dnnl_bf16, 1, in),
                                        describe(rows, out, dnnl_f32, stride, 1)};
    void *const data[] = {(void *)(uintptr_t)x, (void *)(uintptr_t)w, y};
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_DST, NULL}};
    bool good = true;
    for (int i = 0; i < 3; i++)
        good = good && lib.memory_create(&arguments[i].memory, &about[i], lib.engine, data[i]) == dnnl_success;
    if (!good || lib.primitive_execute(lib.product, stream->stream, 3, arguments) != dnnl_success ||
        lib.stream_wait(stream->stream) != dnnl_success)
        WN_BUG("oneDNN cannot multiply %lld x %lld by %lld", (long long)rows, (long long)in, (long long)out);
    for (int i = 0; i < 3; i++)
        lib.memory_destroy(arguments[i].memory);
}

#else

wn_status wn_bf16_start(void)
{
    return wn_fail(WN_ERR_UNSUPPORTED,
                   "\"compute\": \"bf16\": this winnow was built without oneDNN: install it (Debian, "
                   "Ubuntu: libdnnl-dev) and build again, or leave the key out");
}

const char *wn_bf16_protocol(void)
{
    return "";
}

struct wn_bf16_stream *wn_bf16_stream_create(void)
{
    WN_BUG("products in bf16 without oneDNN");
}

void wn_bf16_stream_destroy(struct wn_bf16_stream *stream)
{
    (void)stream;
}

void wn_bf16_product(struct wn_bf16_stream *stream, const uint16_t *x, int64_t rows, int64_t in, const uint16_t *w,
                     int64_t out, float *y, int64_t stride)
{
    (void)stream, (void)x, (void)rows, (void)in, (void)w, (void)out, (void)y, (void)stride;
    WN_BUG("products in bf16 without oneDNN");
}
#endif

/* ---- few rows ---- */

/* Weights rounded as they are read: from memory, or from where they are made. */
struct rounded {
    const float *w; /* NULL: source */
    int64_t in;
    const struct wn_row_source *source;
};

static void take_rounded(const void *context, int64_t first, int64_t end, float *out)
{
    const struct rounded *rounded = context;
    if (rounded->w)
        wn_round_to_bf16(rounded->w + first * rounded->in, (end - first) * rounded->in, out);
    else {
        rounded->source->take(rounded->source->context, first, end, out);
        wn_round_to_bf16(out, (end - first) * rounded->in, out);
    }
}

void wn_linear_few_rows_bf16(const float *x, int64_t rows, int64_t in, const float *w,
                             const struct wn_row_source *source, int64_t out, const float *bias, float *y,
                             int64_t stride)
{
    const struct rounded weights = {w, in, source};
    const struct wn_row_source all = {.take = take_rounded, .context = &weights};
    float *inputs = wn_alloc(rows * in, sizeof *inputs);
    wn_round_to_bf16(x, rows * in, inputs);
    wn_linear_few_rows_from(inputs, rows, in, &all, out, bias, y, stride);
    wn_free(inputs);
}

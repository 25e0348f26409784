/* SPDX-License-Identifier: Apache-2.0 */
/* tokens.c: `winnow tokens`: ids, tokens and what each stands for. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include <winnow/sweep.h>
#include <winnow/tokenizer.h>

#include "command.h"

struct request {
    const char *text;
    bool plain, json;
};

/* What id i adds to the text that the ids before it decode to; *before is that text, and then the longer one. */
static wn_status next_piece(const struct wn_tokenizer *tokenizer, const struct wn_ids *ids, int64_t i,
                            struct wn_text *before, char **piece)
{
    struct wn_text now = {0};
    size_t same = 0;

    WN_TRY(wn_decode(tokenizer, ids->data, i + 1, false, &now));
    wn_text_append(&now, "", 0);
    while (same < now.length && same < before->length && now.data[same] == before->data[same])
        same++;
    while (same > 0 && ((unsigned char)now.data[same] & 0xC0) == 0x80)
        same--;
    *piece = wn_strdup(now.data + same);
    wn_text_release(before);
    *before = now;
    return WN_OK;
}

/* {"model", "ids", "tokens", "pieces", "bos", "eos", "prefix"}; ids that are none are null. */
static wn_status describe(const struct wn_tokenizer *tokenizer, const struct wn_ids *ids, cJSON *json)
{
    const struct {
        const char *key;
        int32_t id;
    } ends[] = {{"bos", wn_bos_id(tokenizer)}, {"eos", wn_eos_id(tokenizer)}, {"prefix", wn_front_id(tokenizer)}};
    cJSON *list = cJSON_AddArrayToObject(json, "ids"), *tokens = cJSON_AddArrayToObject(json, "tokens");
    cJSON *pieces = cJSON_AddArrayToObject(json, "pieces");
    struct wn_text before = {0};
    wn_status status = WN_OK;

    for (int64_t i = 0; i < ids->count && status == WN_OK; i++) {
        const char *token = wn_token_text(tokenizer, ids->data[i]);
        char *piece = NULL;
        status = next_piece(tokenizer, ids, i, &before, &piece);
        cJSON_AddItemToArray(list, cJSON_CreateNumber(ids->data[i]));
        cJSON_AddItemToArray(tokens, cJSON_CreateString(token ? token : ""));
        cJSON_AddItemToArray(pieces, cJSON_CreateString(piece ? piece : ""));
        wn_free(piece);
    }
    for (int e = 0; e < 3; e++)
        cJSON_AddItemToObject(json, ends[e].key, ends[e].id >= 0 ? cJSON_CreateNumber(ends[e].id) : cJSON_CreateNull());
    wn_text_release(&before);
    return status;
}

/* Quoted, so that spaces and line ends show. */
static void set_quoted(struct wn_grid_table *table, int row, int column, const cJSON *text)
{
    char *quoted = cJSON_PrintUnformatted(text);

    wn_grid_table_set(table, row, column, "%s", quoted);
    cJSON_free(quoted);
}

static void print_table(const cJSON *json)
{
    const cJSON *ids = cJSON_GetObjectItem(json, "ids"), *token = cJSON_GetObjectItem(json, "tokens")->child;
    const cJSON *piece = cJSON_GetObjectItem(json, "pieces")->child, *id;
    struct wn_grid_table table;
    int row = 1;

    wn_grid_table_init(&table, cJSON_GetArraySize(ids) + 1, 4);
    static const char *const heading[] = {"place", "id", "token", "text"};
    for (int c = 0; c < 4; c++)
        wn_grid_table_set(&table, 0, c, "%s", heading[c]);
    table.right[0] = table.right[1] = true;
    cJSON_ArrayForEach (id, ids) {
        wn_grid_table_set(&table, row, 0, "%d", row - 1);
        wn_grid_table_set(&table, row, 1, "%d", id->valueint);
        set_quoted(&table, row, 2, token);
        set_quoted(&table, row++, 3, piece);
        token = token->next;
        piece = piece->next;
    }
    wn_grid_table_print(&table);
    wn_grid_table_release(&table);
}

static void print_json(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    printf("%s\n", text);
    cJSON_free(text);
}

/* `sweep` NULL: none. */
static wn_status show(const char *directory, const struct wn_sweep *sweep, const struct request *request)
{
    struct wn_tokenizer *tokenizer;
    struct wn_ids ids = {0};
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "model", directory);
    wn_status status = sweep && sweep->tokenizer_file ? wn_tokenizer_open_file(directory, &tokenizer)
                                                      : wn_tokenizer_open(directory, &tokenizer);
    if (status == WN_OK && sweep && sweep->prefix_token)
        status = wn_tokenizer_set_front(tokenizer, sweep->prefix_token);
    if (status == WN_OK)
        status = wn_encode(tokenizer, request->text, (int64_t)strlen(request->text), !request->plain, &ids);
    if (status == WN_OK)
        status = describe(tokenizer, &ids, json);
    if (status == WN_OK && request->json)
        print_json(json);
    if (status == WN_OK && !request->json && sweep && sweep->n_models > 1)
        printf("%s\n", directory);
    if (status == WN_OK && !request->json)
        print_table(json);
    wn_ids_release(&ids);
    wn_tokenizer_close(&tokenizer);
    cJSON_Delete(json);
    return status;
}

static int fail(wn_status status)
{
    fprintf(stderr, "winnow: %s\n", wn_error_message());
    return status == WN_ERR_INPUT || status == WN_ERR_UNSUPPORTED ? WN_EXIT_USAGE : WN_EXIT_FAILED;
}

static int show_sweep(const char *path, const struct request *request)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    int code = WN_EXIT_DONE;

    wn_problems_init(&problems);
    if (wn_sweep_read(path, &problems, &sweep) != WN_OK) {
        wn_problems_print(&problems);
        code = WN_EXIT_USAGE;
    }
    for (int64_t m = 0; code == WN_EXIT_DONE && m < sweep->n_models; m++) {
        wn_status status = show(sweep->models[m], sweep, request);
        code = status == WN_OK ? WN_EXIT_DONE : fail(status);
    }
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    return code;
}

int wn_command_tokens(const struct wn_command *command, int argc, char **argv)
{
    struct request request = {0};
    const char *positional[2];
    const struct wn_option options[] = {{"--plain", NULL, NULL, &request.plain}, {"--json", NULL, NULL, &request.json}};
    struct stat about;
    int code;

    if (!wn_options_read(command, argc, argv, options, 2, positional, 2, &code))
        return code;
    request.text = positional[1];
    if (stat(positional[0], &about) == 0 && !S_ISDIR(about.st_mode))
        return show_sweep(positional[0], &request);
    wn_status status = show(positional[0], NULL, &request);
    return status == WN_OK ? WN_EXIT_DONE : fail(status);
}

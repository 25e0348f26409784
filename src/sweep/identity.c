/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c: the identity of a sweep, line by line. */
#include <string.h>

#include "identity.h"

/* "NAME: TEXT" */
static void add_named(struct wn_named **list, int64_t *count, const char *line)
{
    const char *colon = strstr(line, ": ");
    if (!colon)
        return;
    *list = wn_resize(*list, *count + 1, sizeof **list);
    (*list)[(*count)++] =
        (struct wn_named){.name = wn_strndup(line, (size_t)(colon - line)), .text = wn_strdup(colon + 2)};
}

/* What follows a word at the beginning of a line; NULL: it begins otherwise. */
static const char *behind(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) ? NULL : line + strlen(word);
}

static void read_line(struct wn_identity *identity, const char *line)
{
    const char *rest;
    if ((rest = behind(line, "of model "))) {
        identity->models = wn_resize(identity->models, identity->n_models + 1, sizeof *identity->models);
        identity->models[identity->n_models++] = (struct wn_described_model){.name = wn_strdup(rest)};
    }
    struct wn_described_model *model = identity->n_models ? &identity->models[identity->n_models - 1] : NULL;
    if (model && (rest = behind(line, "model file ")))
        wn_text_printf(&model->files, "%s\n", rest);
    else if (model && (rest = behind(line, "calibration ")))
        add_named(&model->calibrations, &model->n_calibrations, rest);
    else if (model && (rest = behind(line, "search ")))
        add_named(&model->searches, &model->n_searches, rest);
    else if (model && (rest = behind(line, "evaluation ")))
        add_named(&model->evals, &model->n_evals, rest);
    else if (model && !model->sample && behind(line, "reference sample ") && strstr(line, ": "))
        model->sample = wn_strdup(strstr(line, ": ") + 2);
}

void wn_identity_read(const char *text, struct wn_identity *identity)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        char *line = wn_strndup(text, length);
        read_line(identity, line);
        wn_free(line);
        text += length + (text[length] == '\n');
    }
}

void wn_identity_release(struct wn_identity *identity)
{
    for (int64_t m = 0; m < identity->n_models; m++) {
        struct wn_described_model *model = &identity->models[m];
        for (int64_t i = 0; i < model->n_calibrations; i++) {
            wn_free(model->calibrations[i].name);
            wn_free(model->calibrations[i].text);
        }
        for (int64_t i = 0; i < model->n_evals; i++) {
            wn_free(model->evals[i].name);
            wn_free(model->evals[i].text);
        }
        for (int64_t i = 0; i < model->n_searches; i++) {
            wn_free(model->searches[i].name);
            wn_free(model->searches[i].text);
        }
        wn_free(model->searches);
        wn_free(model->calibrations);
        wn_free(model->evals);
        wn_free(model->name);
        wn_free(model->sample);
        wn_text_release(&model->files);
    }
    wn_free(identity->models);
}

const struct wn_named *wn_find_named(const struct wn_named *list, int64_t count, const char *name)
{
    for (int64_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return &list[i];
    return NULL;
}

bool wn_same_text(const char *a, const char *b)
{
    return !strcmp(a ? a : "", b ? b : "");
}

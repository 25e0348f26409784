/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.c: short names of points: the method and what varies among its points, in place of the whole key. One look at
 * every key to see what varies, one more to write the names.
 */
#include <stdio.h>
#include <string.h>

#include "sweep_impl.h"

/* A setting of a method as the keys spell it, and whether two points of the method differ in it. */
struct setting {
    char *method, *name, *value; /* owned */
    bool varies;
};

struct settings {
    int64_t count;
    struct setting *list;
};

/* Where the next word of a key ends. */
static const char *word_end(const char *word)
{
    return word + strcspn(word, " ");
}

static const char *next_word(const char *end)
{
    return end + strspn(end, " ");
}

static bool is_setting(const char *word)
{
    return memchr(word, '=', (size_t)(word_end(word) - word)) != NULL;
}

char *wn_point_label(const char *key)
{
    struct wn_text text = {0};
    for (const char *word = key; *word; word = next_word(word_end(word)))
        if (!is_setting(word))
            wn_text_append(&text, word, (size_t)(word_end(word) - word));
    return text.data;
}

int64_t wn_point_kind(struct wn_texts *labels, const char *key)
{
    char *label = wn_point_label(key);
    int64_t kind = wn_texts_add(labels, label);
    wn_free(label);
    return kind;
}

/* The setting "STAGE.NAME" of a method; made when it is not there. Two stages may have a parameter of one name. */
static struct setting *find_setting(struct settings *settings, const char *method, int stage, const char *word)
{
    char name[96];
    int length = (int)strcspn(word, "=");
    snprintf(name, sizeof name, "%d.%.*s", stage, length, word);
    for (int64_t i = settings->count - 1; i >= 0; i--)
        if (!strcmp(settings->list[i].name, name) && !strcmp(settings->list[i].method, method))
            return &settings->list[i];
    const char *value = word + length;
    settings->list = wn_resize(settings->list, settings->count + 1, sizeof *settings->list);
    settings->list[settings->count] = (struct setting){.method = wn_strdup(method),
                                                       .name = wn_strdup(name),
                                                       .value = wn_strndup(value, (size_t)(word_end(value) - value))};
    return &settings->list[settings->count++];
}

static void look_at(struct settings *settings, const char *key, const char *method)
{
    int stage = 0;
    for (const char *word = key; *word; word = next_word(word_end(word))) {
        stage += *word == '+';
        if (!is_setting(word))
            continue;
        struct setting *setting = find_setting(settings, method, stage, word);
        const char *value = word + strcspn(word, "=");
        size_t length = (size_t)(word_end(value) - value);
        if (strlen(setting->value) != length || memcmp(setting->value, value, length))
            setting->varies = true;
    }
}

/* A word says by itself what it sets; numbers and truth values need their name. */
static bool needs_name(const char *value)
{
    return strchr("-.0123456789", value[0]) || !strncmp(value, "true", 4) || !strncmp(value, "false", 5) ||
           !strncmp(value, "none", 4);
}

/* Only keys of points that are so varied say it, so these differ from others that do not. */
static bool is_variation(const char *word)
{
    return !strncmp(word, "replicate=", 10) || !strncmp(word, "perturb=", 8) || !strncmp(word, "perturb_seed=", 13);
}

static char *short_name(struct settings *settings, const char *key, const char *method)
{
    struct wn_text text = {0};
    int stage = 0;
    wn_text_printf(&text, "%s", method);
    for (const char *word = key; *word; word = next_word(word_end(word))) {
        stage += *word == '+';
        if (!is_setting(word) || !(find_setting(settings, method, stage, word)->varies || is_variation(word)))
            continue;
        const char *value = word + strcspn(word, "=") + 1, *shown = needs_name(value) ? word : value;
        wn_text_printf(&text, " %.*s", (int)(word_end(shown) - shown), shown);
    }
    return text.data;
}

char **wn_point_names(const struct wn_grid_points *grid)
{
    struct settings settings = {0};
    char **labels = wn_alloc(grid->n_points, sizeof *labels), **names = wn_alloc(grid->n_points, sizeof *names);
    for (int64_t i = 0; i < grid->n_points; i++) {
        labels[i] = wn_point_label(grid->points[i].key);
        look_at(&settings, grid->points[i].key, labels[i]);
    }
    for (int64_t i = 0; i < grid->n_points; i++) {
        names[i] = short_name(&settings, grid->points[i].key, labels[i]);
        wn_free(labels[i]);
    }
    for (int64_t i = 0; i < settings.count; i++) {
        wn_free(settings.list[i].method);
        wn_free(settings.list[i].name);
        wn_free(settings.list[i].value);
    }
    wn_free(settings.list);
    wn_free(labels);
    return names;
}

void wn_point_names_free(char ***names, int64_t n_points)
{
    for (int64_t i = 0; *names && i < n_points; i++)
        wn_free((*names)[i]);
    wn_free(*names);
    *names = NULL;
}

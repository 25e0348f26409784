/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of words, and numbers for words and n-grams: equal ones get equal numbers, so that scores count integers. */
#include "text_impl.h"

/* ---- lists ---- */

void wn_words_add(struct wn_words *words, struct wn_chars word)
{
    if (words->count == words->capacity) {
        words->capacity = words->capacity ? 2 * words->capacity : 32;
        words->ends = wn_resize(words->ends, words->capacity, sizeof(*words->ends));
    }
    wn_text_append(&words->bytes, word.data, word.length);
    words->ends[words->count++] = words->bytes.length;
}

struct wn_chars wn_words_at(const struct wn_words *words, int64_t index)
{
    size_t start = index > 0 ? words->ends[index - 1] : 0;

    return (struct wn_chars){words->bytes.data + start, words->ends[index] - start};
}

void wn_words_release(struct wn_words *words)
{
    wn_text_release(&words->bytes);
    wn_free(words->ends);
    *words = (struct wn_words){0};
}

void wn_words_split(struct wn_chars text, struct wn_words *words)
{
    struct wn_chars word;

    while (wn_next_word(&text, &word))
        wn_words_add(words, word);
}

static bool is_rouge_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

void wn_words_rouge(struct wn_chars text, bool stemmer, struct wn_words *words)
{
    struct wn_text lower = {0};

    wn_lower(text, &lower);
    for (size_t at = 0; at < lower.length;) {
        size_t start = at;
        while (at < lower.length && is_rouge_byte(lower.data[at]))
            at++;
        size_t length = at - start;
        if (length == 0) {
            at++;
            continue;
        }
        if (stemmer && length > 3)
            length = wn_porter_stem(lower.data + start, length);
        wn_words_add(words, (struct wn_chars){lower.data + start, length});
    }
    wn_text_release(&lower);
}

/* ---- numbers ---- */

/* A power of two that keeps an open-addressing table at most half full. */
static int64_t table_size(int64_t entries)
{
    int64_t size = 16;

    while (size < 2 * entries)
        size *= 2;
    return size;
}

static uint64_t mixed(uint64_t key)
{
    key = (key ^ (key >> 32)) * 0x9E3779B97F4A7C15u;
    return key ^ (key >> 29);
}

/* FNV-1a. */
static uint64_t word_hash(struct wn_chars word)
{
    uint64_t hash = 0xCBF29CE484222325u;

    for (size_t i = 0; i < word.length; i++)
        hash = (hash ^ (uint8_t)word.data[i]) * 0x100000001B3u;
    return hash;
}

int64_t wn_words_number(const struct wn_words *const *lists, int64_t n_lists, int32_t *const *ids)
{
    struct slot {
        struct wn_chars word;
        int64_t number; /* from 1 on; 0 for an empty slot */
    };
    int64_t total = 0, different = 0;

    for (int64_t l = 0; l < n_lists; l++)
        total += lists[l]->count;
    int64_t size = table_size(total);
    struct slot *slots = wn_alloc_zero(size, sizeof(*slots));
    for (int64_t l = 0; l < n_lists; l++)
        for (int64_t i = 0; i < lists[l]->count; i++) {
            struct wn_chars word = wn_words_at(lists[l], i);
            int64_t at = (int64_t)(mixed(word_hash(word)) & (uint64_t)(size - 1));
            while (slots[at].number && !text_equal(slots[at].word, word))
                at = (at + 1) & (size - 1);
            if (!slots[at].number)
                slots[at] = (struct slot){word, ++different};
            ids[l][i] = (int32_t)(slots[at].number - 1);
        }
    wn_free(slots);
    return different;
}

/* Numbers the pairs (first[l][i], second[l][i + shift]), counts[l] of each list, into first[l][i]. */
static int64_t number_pairs(const struct text_ids *lists, int64_t n_lists, int64_t shift, int32_t *const *grams)
{
    struct slot {
        uint64_t pair;
        int64_t number;
    };
    int64_t total = 0, different = 0;

    for (int64_t l = 0; l < n_lists; l++)
        total += text_gram_count(lists[l].count, shift + 1);
    int64_t size = table_size(total);
    struct slot *slots = wn_alloc_zero(size, sizeof(*slots));
    for (int64_t l = 0; l < n_lists; l++)
        for (int64_t i = 0; i + shift < lists[l].count; i++) {
            uint64_t pair = (uint64_t)(uint32_t)grams[l][i] << 32 | (uint32_t)lists[l].data[i + shift];
            int64_t at = (int64_t)(mixed(pair) & (uint64_t)(size - 1));
            while (slots[at].number && slots[at].pair != pair)
                at = (at + 1) & (size - 1);
            if (!slots[at].number)
                slots[at] = (struct slot){pair, ++different};
            grams[l][i] = (int32_t)(slots[at].number - 1);
        }
    wn_free(slots);
    return different;
}

/* An n-gram is the pair of the (n-1)-gram at its start and its last id; a 1-gram that of nothing and its id. */
int64_t text_number_grams(const struct text_ids *lists, int64_t n_lists, int64_t n, int32_t *const *grams)
{
    int64_t different = 0;

    for (int64_t l = 0; l < n_lists; l++)
        for (int64_t i = 0; i < lists[l].count; i++)
            grams[l][i] = 0;
    for (int64_t shift = 0; shift < n; shift++)
        different = number_pairs(lists, n_lists, shift, grams);
    return different;
}

int64_t text_common(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b, int64_t n_numbers)
{
    int64_t *left = wn_alloc_zero(n_numbers, sizeof(*left)), common = 0;

    for (int64_t i = 0; i < n_a; i++)
        left[a[i]]++;
    for (int64_t i = 0; i < n_b; i++)
        if (left[b[i]] > 0) {
            left[b[i]]--;
            common++;
        }
    wn_free(left);
    return common;
}

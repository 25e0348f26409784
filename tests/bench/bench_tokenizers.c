/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of encoding: bench_tokenizers TEXT FOLDER ..., each with a tokenizer.json, on one thread, in processor time.
 * Prints for each the seconds that the text takes and that ten of it do (which should be ten times as many), its MB/s
 * and the number of ids. bench_tokenizers.py calls it beside the package `tokenizers`.
 */
#include <stdio.h>

#include <winnow/io.h>
#include <winnow/tokenizer.h>

#include "clock.h"

static double encode(const struct wn_tokenizer *tokenizer, const char *text, int64_t length, int64_t *count)
{
    struct wn_ids ids = {0};
    double start = seconds_now(1);

    if (wn_encode(tokenizer, text, length, false, &ids) != WN_OK)
        WN_BUG("%s", wn_error_message());
    *count = ids.count;
    wn_ids_release(&ids);
    return seconds_now(1) - start;
}

int main(int count, char **arguments)
{
    struct wn_text ten = {0};
    char *text = NULL;
    int64_t length = 0, ids;

    use_cpu_time = true;
    if (count < 3 || wn_read_text(arguments[1], &text, &length) != WN_OK) {
        fprintf(stderr, "usage: bench_tokenizers TEXT FOLDER ...\n");
        return 2;
    }
    for (int i = 0; i < 10; i++)
        wn_text_append(&ten, text, (size_t)length);
    for (int i = 2; i < count; i++) {
        struct wn_tokenizer *tokenizer;
        if (wn_tokenizer_open_file(arguments[i], &tokenizer) != WN_OK)
            WN_BUG("%s", wn_error_message());
        double ten_times = encode(tokenizer, ten.data, (int64_t)ten.length, &ids);
        double once = encode(tokenizer, text, length, &ids), again = encode(tokenizer, text, length, &ids);
        once = again < once ? again : once;
        printf("%s %.4f %.4f %.2f %lld\n", arguments[i], once, ten_times, (double)length / once / 1e6, (long long)ids);
        wn_tokenizer_close(&tokenizer);
    }
    wn_text_release(&ten);
    wn_free(text);
    return 0;
}

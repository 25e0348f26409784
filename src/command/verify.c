/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c: `winnow verify`: checksums of all points, and the digest of all results. */
#include <stdio.h>

#include "command.h"

int wn_command_verify(const struct wn_command *command, int argc, char **argv)
{
    const char *path;
    struct wn_problems problems;
    char digest[65];
    int64_t done, failed, open;
    int code;
    if (!wn_options_read(command, argc, argv, NULL, 0, &path, 1, &code))
        return code;
    wn_problems_init(&problems);
    wn_status status = wn_results_verify(path, &problems, digest, &done, &failed, &open);
    for (int64_t i = 0; i < problems.count; i++)
        fprintf(stderr, "winnow: %s\n", problems.lines[i]);
    if (status != WN_OK && problems.count == 0)
        fprintf(stderr, "winnow: %s\n", wn_error_message());
    if (status == WN_OK) {
        fprintf(stderr, "winnow: %s: %lld points done, %lld failed, %lld open; %s\n", path, (long long)done,
                (long long)failed, (long long)open, problems.count ? "checksums differ" : "all checksums agree");
        printf("%s\n", digest);
    }
    code = status != WN_OK ? 2 : problems.count ? 1 : 0;
    wn_problems_release(&problems);
    return code;
}

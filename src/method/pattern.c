/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters that all pruners share. */
#include "pattern.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits without a leading zero, so that equal patterns are equal texts. */
static bool parse_count(const char **text, int *number)
{
    char *end;

    if (!isdigit((unsigned char)**text) || **text == '0')
        return false;
    long value = strtol(*text, &end, 10);
    *text = end;
    *number = value > WN_LARGEST_RUN ? WN_LARGEST_RUN + 1 : (int)value;
    return true;
}

wn_status wn_pattern_parse(const char *text, struct wn_pattern *pattern)
{
    const char *at = text;

    *pattern = (struct wn_pattern){0, 0};
    if (!strcmp(text, "unstructured"))
        return WN_OK;
    if (parse_count(&at, &pattern->n) && *at++ == ':' && parse_count(&at, &pattern->m) && !*at &&
        pattern->n < pattern->m && pattern->m <= WN_LARGEST_RUN)
        return WN_OK;
    *pattern = (struct wn_pattern){0, 0};
    return wn_fail(WN_ERR_INPUT,
                   "key \"pattern\": expected \"unstructured\" or \"N:M\" (N zeros in every run of M columns, "
                   "1 <= N < M <= %d), got \"%s\"",
                   WN_LARGEST_RUN, text);
}

struct wn_pattern wn_pattern_of(const struct wn_params *params)
{
    struct wn_pattern pattern;

    if (wn_pattern_parse(wn_params_text(params, "pattern"), &pattern) != WN_OK)
        WN_BUG("the pattern was not checked: %s", wn_error_message());
    return pattern;
}

/* What owl has on top, which without it would be read by nobody. Published for N:M: blocks 2 zeros apart. */
static wn_status check_allocation(struct wn_params *params, const struct wn_pattern *pattern)
{
    const struct {
        const char *name;
        double standard;
    } owl_only[] = {{"owl_lambda", pattern->m ? 1.0 / pattern->m : 0.08}, {"owl_m", pattern->m ? 6 : 5}};
    const bool owl = !strcmp(wn_params_text(params, "allocation"), "owl");

    for (size_t i = 0; i < sizeof owl_only / sizeof *owl_only; i++) {
        const struct wn_value *value = wn_params_find(params, owl_only[i].name);
        if (value->given && !owl)
            return wn_fail(WN_ERR_INPUT, "key \"%s\" has no meaning without \"allocation\": \"owl\"", owl_only[i].name);
        if (owl && !value->set)
            wn_params_derive(params, owl_only[i].name, owl_only[i].standard);
    }
    return WN_OK;
}

/* An N:M pattern fixes the sparsity; one that is given too must agree (0.333 for 1:3 does). */
wn_status wn_pruner_check(struct wn_params *params)
{
    const struct wn_value *sparsity = wn_params_find(params, "sparsity");
    struct wn_pattern pattern;

    WN_TRY(wn_pattern_parse(wn_params_text(params, "pattern"), &pattern));
    WN_TRY(check_allocation(params, &pattern));
    if (!pattern.m && !sparsity->set)
        return wn_fail(WN_ERR_INPUT, "key \"sparsity\" is missing: expected a number in [0, 1), or an N:M \"pattern\"");
    if (!pattern.m)
        return WN_OK;
    double share = (double)pattern.n / pattern.m;
    if (sparsity->given && !(fabs(sparsity->number - share) < 1e-3))
        return wn_fail(WN_ERR_INPUT, "key \"sparsity\": pattern \"%d:%d\" has sparsity %.6g, got %s; leave one out",
                       pattern.n, pattern.m, share, sparsity->text);
    wn_params_derive(params, "sparsity", share);
    return WN_OK;
}

wn_status wn_pruner_check_linear(const struct wn_params *params, const char *name, int64_t rows, int64_t columns)
{
    struct wn_pattern pattern = wn_pattern_of(params);

    (void)rows;
    if (pattern.m && columns % pattern.m)
        return wn_fail(WN_ERR_INPUT, "%s: key \"pattern\": %lld columns are not a multiple of %d (pattern %d:%d)", name,
                       (long long)columns, pattern.m, pattern.n, pattern.m);
    return WN_OK;
}

bool wn_pruner_is_identity(const struct wn_params *params)
{
    return wn_params_number(params, "sparsity") == 0;
}

int64_t wn_pruner_quota(const struct wn_params *params, int64_t count)
{
    return (int64_t)((double)count * wn_params_number(params, "sparsity"));
}

/* floor(zeros * part / parts), which has no room in 64 bits as it stands. */
static int64_t zeros_before(int64_t zeros, int64_t part, int64_t parts)
{
    return zeros / parts * part + zeros % parts * part / parts;
}

int64_t wn_task_quota(const struct wn_linear_task *task, int64_t first, int64_t end, int64_t parts)
{
    if (!task->zeros)
        return wn_pruner_quota(task->params, task->rows * task->columns / parts * (end - first));
    return zeros_before(*task->zeros, end, parts) - zeros_before(*task->zeros, first, parts);
}

void wn_pruner_set_sparsity(struct wn_params *params, double sparsity)
{
    const struct wn_pattern pattern = wn_pattern_of(params);
    struct wn_value *text = (struct wn_value *)wn_params_find(params, "pattern");

    wn_params_derive(params, "sparsity", sparsity);
    if (pattern.m)
        snprintf(text->text, sizeof text->text, "%d:%d", (int)rint(sparsity * pattern.m), pattern.m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* limits.c: see base.h: what the system lets this process have, read from /proc, the cgroup file systems and Slurm. */
#include <winnow/base.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Limits of this size and above are none: cgroup v1 writes the largest number of pages. */
#define NONE (INT64_MAX / 2)

struct reader {
    const char *root; /* put before every path */
    struct wn_limit *limits;
    int count;
    int64_t size, data, own; /* address space, private part of it, and anonymous memory of this process */
};

/* ---- small files ---- */

/* The text of a file, cut at the end of the buffer; false: it cannot be read. */
static bool read_text(const char *root, const char *folder, const char *name, char *text, size_t size)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s%s%s%s", root, folder, *name ? "/" : "", name);
    FILE *file = length < (int)sizeof path ? fopen(path, "r") : NULL;
    text[0] = '\0';
    if (!file)
        return false;
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    fclose(file);
    return got > 0;
}

/* The number behind `name` at the beginning of a line; -1: there is none. */
static int64_t number_of(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, length) && (line[length] == ' ' || line[length] == ':'))
            return strtoll(line + length + 1, NULL, 10);
    }
    return -1;
}

static void add(struct reader *r, uint64_t shared_by, bool address, int64_t limit, int64_t used, const char *what)
{
    if (limit < 0 || limit >= NONE || r->count == WN_LIMITS)
        return;
    struct wn_limit *one = &r->limits[r->count++];
    *one = (struct wn_limit){
        .limit = limit, .left = used < limit ? limit - used : 0, .shared_by = shared_by, .address_space = address};
    snprintf(one->what, sizeof one->what, "%s", what);
}

/* ---- the node, and the limits of a process ---- */

enum { SHARED_BY_NODE = 1, SHARED_BY_JOB = 2 };

static void read_node(struct reader *r)
{
    char text[8192];
    if (!read_text(r->root, "/proc/meminfo", "", text, sizeof text))
        return;
    int64_t all = number_of(text, "MemTotal") * 1024, left = number_of(text, "MemAvailable") * 1024;
    if (all > 0 && left >= 0)
        add(r, SHARED_BY_NODE, false, all, all - left, "memory of the node");
}

static void read_process(struct reader *r)
{
    char text[8192];
    if (!read_text(r->root, "/proc/self/status", "", text, sizeof text))
        return;
    r->size = number_of(text, "VmSize") * 1024;
    r->data = number_of(text, "VmData") * 1024;
    r->own = number_of(text, "RssAnon") * 1024;
}

static int64_t limit_of(int resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > (rlim_t)NONE)
        return NONE;
    return (int64_t)limit.rlim_cur;
}

/* ---- cgroups ---- */

/* A version keeps its numbers in files of other names. */
struct version {
    const char *type, *limit, *usage, *inactive;
};

static const struct version versions[] = {
    {"cgroup2", "memory.max", "memory.current", "inactive_file"},
    {"cgroup", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}};

/* File pages that nobody used lately are given up before the limit is met. */
static void read_level(struct reader *r, const struct version *version, const char *folder, const char *path)
{
    char text[8192], what[WN_LIMIT_TEXT], whole[4096];
    struct stat about;
    if (!read_text(r->root, folder, version->limit, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return;
    int64_t limit = strtoll(text, NULL, 10);
    if (!read_text(r->root, folder, version->usage, text, sizeof text))
        return;
    int64_t used = strtoll(text, NULL, 10);
    if (read_text(r->root, folder, "memory.stat", text, sizeof text)) {
        int64_t inactive = number_of(text, version->inactive);
        used -= inactive > 0 && inactive < used ? inactive : 0;
    }
    snprintf(whole, sizeof whole, "%s%s", r->root, folder);
    snprintf(what, sizeof what, "memory of the cgroup %.80s", *path ? path : "/");
    add(r, stat(whole, &about) == 0 ? (uint64_t)about.st_ino + SHARED_BY_JOB : SHARED_BY_NODE, false, limit, used,
        what);
}

/* From the group of this process up to the mounted one. `path` is cut level by level. */
static void read_levels(struct reader *r, const struct version *version, const char *mount, char *path)
{
    char folder[4096];
    for (;;) {
        snprintf(folder, sizeof folder, "%s%s", mount, path);
        read_level(r, version, folder, path);
        char *slash = strrchr(path, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

/* The path of this process below the mounted root of a hierarchy, in `path`; false: it is in none. */
static bool find_group(const struct reader *r, const struct version *version, const char *root, char *path, size_t size)
{
    char text[8192];
    bool second = !strcmp(version->type, "cgroup2");
    if (!read_text(r->root, "/proc/self/cgroup", "", text, sizeof text))
        return false;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *controllers = strchr(line, ':'), *at = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!at)
            continue;
        *at++ = '\0';
        if (second ? strcmp(controllers + 1, "") != 0 : !strstr(controllers + 1, "memory"))
            continue;
        size_t skip = strcmp(root, "/") && !strncmp(at, root, strlen(root)) ? strlen(root) : 0;
        at += skip;
        snprintf(path, size, "%s", strstr(at, "/..") || !strcmp(at, "/") ? "" : at);
        return true;
    }
    return false;
}

static void read_groups(struct reader *r)
{
    static char text[1 << 16];
    char *rest;
    if (!read_text(r->root, "/proc/self/mountinfo", "", text, sizeof text))
        return;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char root[1024], mount[1024], type[64], options[1024], path[2048];
        const char *middle = strstr(line, " - ");
        if (!middle || sscanf(line, "%*s %*s %*s %1023s %1023s", root, mount) != 2 ||
            sscanf(middle + 3, "%63s %*s %1023s", type, options) != 2)
            continue;
        for (size_t v = 0; v < sizeof versions / sizeof versions[0]; v++)
            if (!strcmp(type, versions[v].type) && (v == 0 || strstr(options, "memory")) &&
                find_group(r, &versions[v], root, path, sizeof path))
                read_levels(r, &versions[v], mount, path);
    }
}

/* ---- Slurm ---- */

/* What the job asked for on this node, also where no cgroup holds it to that. */
static void read_slurm(struct reader *r)
{
    const char *node = getenv("SLURM_MEM_PER_NODE"), *processor = getenv("SLURM_MEM_PER_CPU");
    const char *processors = getenv("SLURM_CPUS_ON_NODE");
    int64_t megabytes = node ? atoll(node) : processor && processors ? atoll(processor) * atoll(processors) : 0;
    if (megabytes > 0)
        add(r, SHARED_BY_JOB, false, megabytes << 20, 0,
            node ? "memory of the job (SLURM_MEM_PER_NODE)" : "memory of the job (SLURM_MEM_PER_CPU)");
}

int wn_limits_read(const char *root, struct wn_limit limits[WN_LIMITS], int64_t *own)
{
    struct reader r = {.root = root, .limits = limits};
    read_process(&r);
    read_node(&r);
    read_groups(&r);
    read_slurm(&r);
    add(&r, 0, true, limit_of(RLIMIT_AS), r.size, "address space (ulimit -v)");
    add(&r, 0, false, limit_of(RLIMIT_DATA), r.data, "data of a process (ulimit -d)");
    *own = r.own;
    return r.count;
}

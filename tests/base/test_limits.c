/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of memory from trees of files as the kernel shows them: no cgroup, version 1 in a container, version 2. */
#include <winnow/base.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include "test.h"

static char folder[256];

static void put(const char *path, const char *text)
{
    char whole[1024];
    snprintf(whole, sizeof whole, "%s%s", folder, path);
    for (char *at = strchr(whole + strlen(folder) + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(whole, 0700);
        *at = '/';
    }
    FILE *file = fopen(whole, "w");
    CHECK(file != NULL);
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

static int64_t own;

static int read_all(struct wn_limit limits[WN_LIMITS])
{
    return wn_limits_read(folder, limits, &own);
}

static const struct wn_limit *find(const struct wn_limit *limits, int count, const char *what)
{
    for (int i = 0; i < count; i++)
        if (strstr(limits[i].what, what))
            return &limits[i];
    return NULL;
}

static void check_limit(const char *what, int64_t limit, int64_t left)
{
    struct wn_limit limits[WN_LIMITS];
    const struct wn_limit *one = find(limits, read_all(limits), what);
    CHECK(one != NULL);
    if (!one)
        return;
    CHECK(one->limit == limit);
    CHECK(one->left == left);
}

static void check_node(void)
{
    struct wn_limit limits[WN_LIMITS];
    put("/proc/meminfo", "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\n");
    put("/proc/self/status", "Name:\tx\nVmSize:\t   300 kB\nVmData:\t  200 kB\nRssAnon:\t  50 kB\n");
    CHECK(read_all(limits) == 1);
    CHECK(own == 50 << 10);
    check_limit("of the node", 1000 << 10, 400 << 10);
}

/* Every level up to the root, without those that have no limit. */
static void check_second_version(void)
{
    struct wn_limit limits[WN_LIMITS];
    put("/proc/self/cgroup", "0::/slurm/job_7/step_0\n");
    put("/proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
    put("/sys/fs/cgroup/slurm/memory.max", "max\n");
    put("/sys/fs/cgroup/slurm/memory.current", "7000\n");
    put("/sys/fs/cgroup/slurm/job_7/memory.max", "5000\n");
    put("/sys/fs/cgroup/slurm/job_7/memory.current", "1500\n");
    put("/sys/fs/cgroup/slurm/job_7/memory.stat", "anon 700\nfile 800\ninactive_file 600\nactive_file 200\n");
    put("/sys/fs/cgroup/slurm/job_7/step_0/memory.max", "4000\n");
    put("/sys/fs/cgroup/slurm/job_7/step_0/memory.current", "4500\n");
    CHECK(read_all(limits) == 3);
    check_limit("cgroup /slurm/job_7/step_0", 4000, 0);
    struct wn_limit again[WN_LIMITS];
    int count = read_all(again);
    const struct wn_limit *job = NULL, *step = find(again, count, "step_0");
    for (int i = 0; i < count; i++)
        if (!strcmp(again[i].what, "memory of the cgroup /slurm/job_7"))
            job = &again[i];
    CHECK(job && job->limit == 5000 && job->left == 4100);
    CHECK(job && step && job->shared_by != step->shared_by && job->shared_by > 2);
}

/* A container: the mounted root is the group itself. */
static void check_first_version(void)
{
    put("/proc/self/cgroup", "9:cpu,cpuacct:/docker/ab\n5:memory:/docker/ab/inner\n0::/docker/ab\n");
    put("/proc/self/mountinfo", "30 24 0:26 /docker/ab /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                                "31 24 0:27 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9000\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "6000\n");
    put("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n");
    put("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/inner/memory.usage_in_bytes", "10\n");
    check_limit("cgroup /", 9000, 5000);
    struct wn_limit limits[WN_LIMITS];
    CHECK(read_all(limits) == 2);
}

static void check_slurm(void)
{
    setenv("SLURM_MEM_PER_CPU", "3", 1);
    setenv("SLURM_CPUS_ON_NODE", "4", 1);
    check_limit("SLURM_MEM_PER_CPU", 12 << 20, 12 << 20);
    setenv("SLURM_MEM_PER_NODE", "0", 1); /* all of the node */
    struct wn_limit limits[WN_LIMITS];
    CHECK(!find(limits, read_all(limits), "SLURM"));
    setenv("SLURM_MEM_PER_NODE", "5", 1);
    check_limit("SLURM_MEM_PER_NODE", 5 << 20, 5 << 20);
}

static void check_process(void)
{
    struct rlimit limit = {(rlim_t)1 << 46, RLIM_INFINITY};
    struct wn_limit limits[WN_LIMITS];
    CHECK(!find(limits, read_all(limits), "ulimit"));
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        return;
    check_limit("ulimit -d", (int64_t)1 << 46, ((int64_t)1 << 46) - (200 << 10));
}

int main(void)
{
    snprintf(folder, sizeof folder, "%s/winnow.limits.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    unsetenv("SLURM_MEM_PER_NODE");
    unsetenv("SLURM_MEM_PER_CPU");
    CHECK(mkdtemp(folder) != NULL);
    check_node();
    check_second_version();
    check_first_version();
    check_slurm();
    check_process();
    char *command = wn_format("rm -rf '%s'", folder);
    CHECK(system(command) == 0);
    wn_free(command);

    /* This machine. */
    struct wn_limit limits[WN_LIMITS];
    int count = wn_limits_read("", limits, &own);
    const struct wn_limit *node = find(limits, count, "of the node");
    CHECK(node && node->limit > 1 << 20 && node->left <= node->limit && own > 0);
    return test_finish();
}

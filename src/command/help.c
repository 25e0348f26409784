/* SPDX-License-Identifier: Apache-2.0 */
/* help.c: `winnow help TOPIC`, printed from the tables of methods, architectures, metrics and sweep keys. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include <winnow/sweep.h>

#include "command.h"

static void add_method(const struct wn_method *method, struct wn_text *text)
{
    static const char *const kinds[] = {"identity", "pruning", "quantization", "depth pruning"};
    wn_text_printf(text, "%s (%s%s)\n  %s\n", method->name, kinds[method->kind],
                   method->needs ? "; needs calibration data" : "", method->help);
    if (method->paper)
        wn_text_printf(text, "  %s\n", method->paper);
    wn_params_help(method->parameters, method->n_parameters, text);
}

static void add_methods(struct wn_text *text)
{
    int64_t count;
    const struct wn_method *const *table = wn_method_table(&count);
    for (int64_t i = 0; i < count; i++) {
        add_method(table[i], text);
        wn_text_printf(text, "\n");
    }
    wn_text_printf(text, "Any pruning method can be followed by any quantization method: \"prune\" and \"quantize\" "
                         "in one product.\n");
}

/* The layout of a small model, which has the names of any. */
static void describe_example(const struct wn_arch *arch, struct wn_layout *layout)
{
    static const char sizes[] = "\"vocab_size\": 64, \"hidden_size\": 64, \"intermediate_size\": 96, "
                                "\"num_hidden_layers\": 2, \"num_attention_heads\": 8, \"num_key_value_heads\": 8";
    struct wn_config config = {0};
    char *text = wn_format("{%s, \"text_config\": {%s}}", sizes, sizes);
    cJSON *json = cJSON_Parse(text);
    snprintf(config.model_type, sizeof config.model_type, "%s", arch->model_type);
    if (arch->read_config(arch->model_type, json, &config) != WN_OK)
        WN_BUG("%s", wn_error_message());
    arch->describe(&config, layout);
    cJSON_Delete(json);
    wn_free(text);
}

static void add_architecture(const struct wn_arch *arch, struct wn_text *text)
{
    struct wn_layout layout;
    describe_example(arch, &layout);
    wn_text_printf(text, "%-12s  %s\n%14scompressed:", arch->model_type, arch->help, "");
    for (int l = 0; l < layout.n_linears; l++) {
        const struct wn_linear_info *linear = &layout.linears[l];
        if (layout.input_experts[linear->input] > 1) /* as the first expert */
            continue;
        wn_text_printf(text, "%s %s", l ? "," : "", linear->name);
        if (linear->source.tensor[0])
            wn_text_printf(text, " (of %s)", linear->source.tensor);
    }
    wn_text_printf(text, "\n%14sscales fold into:", "");
    int folds = 0;
    for (int i = 0; i < layout.n_inputs; i++)
        if (layout.producer_vector[i] >= 0)
            wn_text_printf(text, "%s %s", folds++ ? "," : "", layout.vectors[layout.producer_vector[i]].name);
    wn_text_printf(text, "%s\n", folds ? "" : " nothing: no norm stands before linears of one input alone");
}

static void add_architectures(struct wn_text *text)
{
    int64_t count;
    const struct wn_arch *const *table = wn_arch_table(&count);
    wn_text_printf(text, "model_type of config.json: models, the linears of a block that methods compress, and the "
                         "norms that the scales of smoothquant fold into. Embeddings, norms, biases and the head stay "
                         "as they are.\n\n");
    for (int64_t i = 0; i < count; i++)
        add_architecture(table[i], text);
}

static void add_metrics(struct wn_text *text)
{
    int64_t count;
    const struct wn_eval *const *table = wn_eval_table(&count);
    for (int64_t i = 0; i < count; i++) {
        wn_text_printf(text, "%s (key \"evaluate.%s\")\n  %s\n", table[i]->name, table[i]->section, table[i]->help);
        for (int m = 0; table[i]->task && m < table[i]->task->n_metrics; m++)
            wn_text_printf(text, "  %-18s  %s\n", table[i]->task->metrics[m].name, table[i]->task->metrics[m].help);
        wn_params_help(table[i]->parameters, table[i]->n_parameters, text);
        wn_text_printf(text, "\n");
    }
    wn_text_printf(text, "divergence (key \"evaluate.divergence\")\n  On the sets named in \"on\", per scored token "
                         "against the dense model: KL(dense || compressed) and Jensen-Shannon divergence in nats, "
                         "agreement of the most likely token.\n\nlogits (key \"evaluate.logits\")\n  On the sets named "
                         "in \"on\": the \"top\" largest logits with their ids, log-sum-exp and the target's logit for "
                         "the first \"tokens\" scored tokens.\n");
}

static void add_search(struct wn_text *text)
{
    wn_search_help(text);
    wn_text_printf(text, "\nA product of the grid names it: {\"method\": \"drop\", \"sparsity\": 0.25, \"units\": "
                         "[\"block\", \"branch\"], \"allocation\": \"NAME\"}. Generations are kept in /search/NAME of "
                         "the results file: a run that was stopped or killed goes on behind the last one (winnow show "
                         "--search NAME).\n");
}

/* What has a name of its own; false: there is none of that name. */
static bool print_named(const char *name)
{
    int64_t n_methods;
    int n_commands;
    const struct wn_method *const *methods = wn_method_table(&n_methods);
    const struct wn_command *commands = wn_commands(&n_commands);
    for (int i = 0; i < n_commands; i++)
        if (!strcmp(commands[i].name, name)) {
            wn_command_print_page(&commands[i]);
            return true;
        }
    for (int64_t i = 0; i < n_methods; i++)
        if (!strcmp(methods[i]->name, name)) {
            struct wn_text text = {0};
            add_method(methods[i], &text);
            wn_print_wrapped(stdout, &text);
            wn_text_release(&text);
            return true;
        }
    return false;
}

struct topic {
    const char *name;
    void (*add)(struct wn_text *text);
    bool for_programs; /* printed as it is */
};

static void print_topic(const struct topic *topic)
{
    struct wn_text text = {0};
    topic->add(&text);
    if (topic->for_programs)
        printf("%s", text.data);
    else
        wn_print_wrapped(stdout, &text);
    wn_text_release(&text);
}

int wn_command_help(const struct wn_command *command, int argc, char **argv)
{
    static const struct topic topics[] = {{"methods", add_methods, false},
                                          {"architectures", add_architectures, false},
                                          {"metrics", add_metrics, false},
                                          {"tasks", wn_requests_help, false},
                                          {"tasks-schema", wn_requests_schema, true},
                                          {"sweep", wn_sweep_help, false},
                                          {"search", add_search, false},
                                          {"schema", wn_sweep_schema, true},
                                          {"man", wn_add_manual, true},
                                          {"completion", wn_add_completion, true}};
    const char *topic = NULL;
    int code;
    if (!wn_options_read(command, argc, argv, NULL, 0, &topic, 1, &code))
        return code;
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (!strcmp(topics[i].name, topic)) {
            print_topic(&topics[i]);
            return 0;
        }
    }
    if (print_named(topic))
        return 0;
    fprintf(stderr,
            "winnow: help: unknown topic \"%s\" (topics: the name of a command or a method, methods, architectures, "
            "metrics, tasks, tasks-schema, "
            "sweep, search, schema, man, completion)\n",
            topic);
    return 2;
}

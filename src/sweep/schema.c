/* SPDX-License-Identifier: Apache-2.0 */
/* schema.c: what a sweep file may hold, printed from the tables: the help page and the JSON Schema. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sweep_impl.h"

/* ---- `winnow help sweep` ---- */

static const char *const example =
    "{\n"
    "  \"name\": \"llama2-7b\",\n"
    "  \"model\": \"/models/llama-2-7b\",    // a checkpoint; a list makes it an axis\n"
    "  \"calibration\": {                  // any number of named sets\n"
    "    \"general\": {\"text\": \"c4.jsonl\", \"samples\": 128, \"length\": 2048, \"seed\": 0},\n"
    "    \"task\": {\"prompts\": \"alpaca.jsonl\", \"template\": \"alpaca\", \"length\": 512}\n"
    "  },\n"
    "  \"grid\": [                         // products; every value may be a list\n"
    "    {\"method\": [\"magnitude\", \"wanda\"], \"sparsity\": [0.1, 0.3, 0.5, 0.7],\n"
    "     \"calibration\": [\"general\", \"task\"]},\n"
    "    {\"method\": \"wanda\", \"pattern\": [\"2:4\", \"4:8\"], \"calibration\": \"general\"},\n"
    "    {\"method\": \"wanda\", \"sparsity\": 0.7, \"allocation\": [\"uniform\", \"owl\"],\n"
    "     \"calibration\": \"general\"},\n"
    "    {\"method\": \"rtn\", \"bits\": [8, 4, 3, 2], \"group\": 128},\n"
    "    {\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"rtn\", \"bits\": 4,\n"
    "     \"calibration\": \"general\"}\n"
    "  ],\n"
    "  \"evaluate\": {\n"
    "    \"perplexity\": {\"wikitext2\": {\"text\": \"wiki.test.joined.txt\",\n"
    "                                 \"protocol\": \"gptq\", \"length\": 2048}},\n"
    "    \"tasks\": [\"tasks/arc_easy.jsonl\"],\n"
    "    \"divergence\": {\"on\": [\"wikitext2\"], \"measures\": [\"kl\", \"js\", \"top1\"]},\n"
    "    \"logits\": {\"on\": [\"wikitext2\"], \"top\": 64, \"tokens\": 4096}\n"
    "  },\n"
    "  \"statistics\": {\"sample\": \"general\", \"tokens\": 512},  // for output_error\n"
    "  \"output\": \"llama2-7b.h5\",\n"
    "  \"scratch\": \"/scratch/me\"          // for what a stop leaves\n"
    "}\n";

static const char prefix_token[] =
    "the token in front of a text without context, in rolling perplexity and in tasks: bos, eos, none (the first token "
    "of the text is not scored) or a token; default as in lm-evaluation-harness: the BOS, else the EOS";

void wn_sweep_help(struct wn_text *text)
{
    int count;
    int64_t kinds;
    const struct wn_parameter *calibration = wn_calibration_parameters(&count);
    const struct wn_eval *const *evals = wn_eval_table(&kinds);
    wn_text_printf(text,
                   "A sweep file is JSON with comments. Paths are relative to the file. Unknown keys are mistakes.\n\n"
                   "%s\n",
                   example);
    wn_text_printf(
        text,
        "grid: axes of a product\n"
        "  method        a method (see winnow help methods); or prune and quantize for a joint point\n"
        "  calibration   names of sets; needed by methods that use calibration data\n"
        "  propagation   sequential (default: inputs from compressed blocks before) or dense\n"
        "  routing       of models with experts, under sequential propagation: sequential (default: routers read what "
        "compressed blocks give) or dense (the dense model chooses the experts of every token of the calibration "
        "set); evaluations always route for themselves\n"
        "  model         one of the listed models (default: all)\n"
        "  allocation    who gets how much: uniform, owl (pruners), dynamic_programming, or a search\n"
        "  defaults      own (default), or published: what the published code of the method has, where the default "
        "departs from it (winnow help methods says where)\n"
        "  replicates    a number N, no list: an axis of N draws of the calibration set, with its seed and 1, 2 ... "
        "N - 1 more; methods without calibration data have one point\n"
        "  perturb       relative noise on what the first block gets of the calibration set: 1e-7 is about what "
        "rounding does, and shows what long chains of solves make of it (default: 0)\n"
        "  perturb_seed  of that noise (default: 0)\n"
        "  any parameter of the method: sparsity, pattern, bits, group ...\n\n"
        "The dense model is always evaluated. Cells that are provably equal are computed once.\n\n");
    wn_text_printf(text, "calibration.NAME\n");
    wn_params_help(calibration, count, text);
    for (int64_t i = 0; i < kinds; i++) {
        if (evals[i]->task)
            continue;
        wn_text_printf(text, "\nevaluate.%s%s (%s)\n", evals[i]->section, evals[i]->single ? "" : ".NAME",
                       evals[i]->single ? evals[i]->help : evals[i]->name);
        wn_params_help(evals[i]->parameters, evals[i]->n_parameters, text);
    }
    wn_text_printf(text,
                   "\nsearch.NAME: a search that grid products name as their allocation; see winnow help search\n");
    struct wn_keys task = wn_requests_entry_keys();
    wn_text_printf(text, "\nevaluate.tasks: a list of request files (winnow help tasks), each a path or an object\n");
    wn_keys_help(&task, 1, text);
    wn_text_printf(text, "\nevaluate.prefix_token: %s\n", prefix_token);
    wn_text_printf(text, "\ntokenizer: class (default): what the class of the tokenizer builds anew is built anew, as "
                         "transformers 5 does; file: tokenizer.json as it is, as transformers 4 did\n");
    wn_text_printf(text,
                   "\ncompute: f32 (default), or bf16: where sets are evaluated, the linears of all points and of the "
                   "dense model take inputs and weights in bf16, with sums in fp32. Methods, calibration and "
                   "head stay in fp32: the compressed weights are those of f32. A forward is about 1.5 times "
                   "as fast where the processor has such products; needs oneDNN. Divergences near 1e-4 are "
                   "those of the rounding.\n");
    wn_text_printf(text, "\nA minimal file:\n"
                         "  {\"model\": \"DIRECTORY\",\n"
                         "   \"grid\": [{\"method\": \"magnitude\", \"sparsity\": [0.3, 0.5]}],\n"
                         "   \"evaluate\": {\"perplexity\": {\"text\": {\"text\": \"test.txt\"}}}}\n");
}

/* ---- JSON Schema ---- */

/* {"anyOf": [item, list of items]}: every axis value may be a list. */
static cJSON *item_or_list(cJSON *item)
{
    cJSON *both = cJSON_CreateObject(), *any = cJSON_AddArrayToObject(both, "anyOf"), *list = cJSON_CreateObject();
    cJSON_AddStringToObject(list, "type", "array");
    cJSON_AddNumberToObject(list, "minItems", 1);
    cJSON_AddItemToObject(list, "items", cJSON_Duplicate(item, true));
    cJSON_AddItemToArray(any, item);
    cJSON_AddItemToArray(any, list);
    return both;
}

static cJSON *words_schema(const char *words)
{
    cJSON *schema = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(schema, "enum");
    while (*words) {
        size_t length = strcspn(words, "|");
        char *word = wn_strndup(words, length);
        cJSON_AddItemToArray(list, cJSON_CreateString(word));
        wn_free(word);
        words += length + (words[length] == '|');
    }
    return schema;
}

static cJSON *number_schema(const struct wn_parameter *parameter)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", parameter->type == WN_INTEGER ? "integer" : "number");
    if (parameter->low < parameter->high) {
        cJSON_AddNumberToObject(schema, "minimum", parameter->low);
        if (isfinite(parameter->high))
            cJSON_AddNumberToObject(schema, parameter->open_end ? "exclusiveMaximum" : "maximum", parameter->high);
    }
    return schema;
}

static cJSON *parameter_schema(const struct wn_parameter *parameter)
{
    cJSON *schema;
    bool text = parameter->type == WN_STRING;
    if (parameter->type == WN_BOOL) {
        schema = cJSON_CreateObject();
        cJSON_AddStringToObject(schema, "type", "boolean");
    } else if (text && parameter->words) {
        schema = words_schema(parameter->words);
    } else if (text) {
        schema = cJSON_CreateObject();
        cJSON_AddStringToObject(schema, "type", "string");
    } else if (parameter->words) {
        schema = cJSON_CreateObject();
        cJSON *any = cJSON_AddArrayToObject(schema, "anyOf");
        cJSON_AddItemToArray(any, number_schema(parameter));
        cJSON_AddItemToArray(any, words_schema(parameter->words));
    } else {
        schema = number_schema(parameter);
    }
    cJSON_AddStringToObject(schema, "description", parameter->help);
    if (parameter->standard)
        cJSON_AddItemToObject(schema, "default", cJSON_Parse(parameter->standard));
    return schema;
}

static cJSON *object_schema(const struct wn_parameter *table, int count)
{
    cJSON *schema = cJSON_CreateObject(), *properties = NULL, *required = NULL;
    cJSON_AddStringToObject(schema, "type", "object");
    properties = cJSON_AddObjectToObject(schema, "properties");
    for (int i = 0; i < count; i++) {
        cJSON_AddItemToObject(properties, table[i].name, parameter_schema(&table[i]));
        if (!table[i].required)
            continue;
        if (!required)
            required = cJSON_AddArrayToObject(schema, "required");
        cJSON_AddItemToArray(required, cJSON_CreateString(table[i].name));
    }
    cJSON_AddFalseToObject(schema, "additionalProperties");
    return schema;
}

static cJSON *string_schema(const char *description)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "string");
    cJSON_AddStringToObject(schema, "description", description);
    return schema;
}

/* An object whose values all follow one schema: named sets. */
static cJSON *named(cJSON *value, const char *description)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON_AddStringToObject(schema, "description", description);
    cJSON_AddItemToObject(schema, "additionalProperties", value);
    return schema;
}

static void add_method_names(cJSON *properties)
{
    static const char *const keys[] = {"method", "prune", "quantize"};
    int64_t count;
    const struct wn_method *const *table = wn_method_table(&count);
    for (int k = 0; k < 3; k++) {
        cJSON *schema = cJSON_CreateObject(), *names = cJSON_AddArrayToObject(schema, "enum");
        for (int64_t i = 0; i < count; i++)
            if (k == 0 || (int)table[i]->kind == (k == 1 ? WN_PRUNER : WN_QUANTIZER))
                cJSON_AddItemToArray(names, cJSON_CreateString(table[i]->name));
        cJSON_AddItemToObject(properties, keys[k], item_or_list(schema));
    }
}

static cJSON *grid_schema(void)
{
    cJSON *schema = cJSON_CreateObject(), *product = cJSON_CreateObject();
    cJSON *properties = cJSON_AddObjectToObject(product, "properties");
    int64_t count;
    int n_variation;
    const struct wn_method *const *table = wn_method_table(&count);
    const struct wn_parameter *variation = wn_grid_variation_parameters(&n_variation);
    add_method_names(properties);
    cJSON_AddItemToObject(properties, "model", item_or_list(string_schema("one of the sweep's models")));
    cJSON_AddItemToObject(properties, "calibration", item_or_list(string_schema("name of a calibration set")));
    cJSON_AddItemToObject(properties, "propagation", item_or_list(words_schema("sequential|dense")));
    cJSON_AddItemToObject(properties, "routing", item_or_list(words_schema("sequential|dense")));
    cJSON_AddItemToObject(properties, "defaults", item_or_list(words_schema("own|published")));
    for (int p = 0; p < n_variation; p++) {
        cJSON *value = parameter_schema(&variation[p]);
        cJSON_AddItemToObject(properties, variation[p].name,
                              strcmp(variation[p].name, "replicates") ? item_or_list(value) : value);
    }
    cJSON_AddItemToObject(
        properties, "allocation",
        item_or_list(
            string_schema("uniform, owl (pruners), dynamic_programming, or the name of a search: who gets how much")));
    for (int64_t i = 0; i < count; i++)
        for (int p = 0; p < table[i]->n_parameters; p++)
            if (!cJSON_GetObjectItemCaseSensitive(properties, table[i]->parameters[p].name))
                cJSON_AddItemToObject(properties, table[i]->parameters[p].name,
                                      item_or_list(parameter_schema(&table[i]->parameters[p])));
    cJSON_AddStringToObject(product, "type", "object");
    cJSON_AddFalseToObject(product, "additionalProperties");
    cJSON_AddStringToObject(schema, "type", "array");
    cJSON_AddNumberToObject(schema, "minItems", 1);
    cJSON_AddItemToObject(schema, "items", product);
    return schema;
}

/* A task may be just a path, and tasks may be a list. */
static cJSON *tasks_schema(void)
{
    struct wn_keys keys = wn_requests_entry_keys();
    cJSON *task = cJSON_CreateObject(), *either = cJSON_AddArrayToObject(task, "anyOf");
    cJSON *both = cJSON_CreateObject(), *forms = cJSON_AddArrayToObject(both, "anyOf"), *list = cJSON_CreateObject();
    cJSON_AddItemToArray(either, string_schema("path of a request file"));
    cJSON_AddItemToArray(either, wn_keys_schema(&keys, 1));
    cJSON_AddStringToObject(list, "type", "array");
    cJSON_AddItemToObject(list, "items", cJSON_Duplicate(task, true));
    cJSON_AddItemToArray(forms, named(task, "request files by name (winnow help tasks)"));
    cJSON_AddItemToArray(forms, list);
    return both;
}

static cJSON *evaluate_schema(void)
{
    static const char *const divergence =
        "{\"type\":\"object\",\"properties\":{\"on\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}"
        "},"
        "\"measures\":{\"type\":\"array\",\"items\":{\"enum\":[\"kl\",\"js\",\"top1\"]}}},\"required\":[\"on\"],"
        "\"additionalProperties\":false}";
    static const char *const logits = "{\"type\":\"object\",\"properties\":{\"on\":{\"type\":\"array\",\"minItems\":1,"
                                      "\"items\":{\"type\":\"string\"}},"
                                      "\"top\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":65536},\"tokens\":{"
                                      "\"type\":\"integer\",\"minimum\":1}},"
                                      "\"required\":[\"on\",\"top\",\"tokens\"],\"additionalProperties\":false}";
    cJSON *schema = cJSON_CreateObject(), *properties = cJSON_AddObjectToObject(schema, "properties");
    int64_t count;
    const struct wn_eval *const *table = wn_eval_table(&count);
    for (int64_t i = 0; i < count; i++)
        if (!table[i]->task) {
            cJSON *settings = object_schema(table[i]->parameters, table[i]->n_parameters);
            if (table[i]->single)
                cJSON_AddStringToObject(settings, "description", table[i]->help);
            cJSON_AddItemToObject(properties, table[i]->section,
                                  table[i]->single ? settings : named(settings, table[i]->help));
        }
    cJSON_AddItemToObject(properties, "tasks", tasks_schema());
    cJSON_AddItemToObject(properties, "divergence", cJSON_Parse(divergence));
    cJSON_AddItemToObject(properties, "logits", cJSON_Parse(logits));
    cJSON_AddItemToObject(properties, "prefix_token", string_schema(prefix_token));
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON_AddFalseToObject(schema, "additionalProperties");
    return schema;
}

static cJSON *statistics_schema(void)
{
    cJSON *schema =
        cJSON_Parse("{\"type\":\"object\",\"properties\":{\"sample\":{\"type\":\"string\"},\"tokens\":"
                    "{\"type\":\"integer\",\"minimum\":1,\"default\":512}},\"additionalProperties\":false}");
    cJSON_AddNumberToObject(cJSON_GetObjectItem(cJSON_GetObjectItem(schema, "properties"), "tokens"), "maximum",
                            WN_CHUNK_TOKENS);
    cJSON_AddStringToObject(schema, "description", "the set whose first tokens are the inputs for output_error");
    return schema;
}

/* Three lists beside the parameters. */
static cJSON *search_schema(void)
{
    static const struct {
        const char *name, *help;
        int fewest, most, low, high; /* items and their range; high 0: none */
    } lists[] = {
        {"survivors", "candidates that each stage of a generation keeps; the last one keeps 1", 1, WN_SEARCH_STAGES, 1,
         0},
        {"tokens", "calibration tokens on which each stage judges", 1, WN_SEARCH_STAGES, 2, 0},
        {"bits", "levels of bits, with gaps or without; default 2 to 6", 2, WN_BITS_MOST - WN_BITS_LEAST + 1,
         WN_BITS_LEAST, WN_BITS_MOST},
    };
    int count;
    const struct wn_parameter *table = wn_search_parameters(&count);
    cJSON *schema = object_schema(table, count), *properties = cJSON_GetObjectItem(schema, "properties");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        cJSON *list = cJSON_CreateObject(), *item = cJSON_AddObjectToObject(list, "items");
        cJSON_AddStringToObject(list, "type", "array");
        cJSON_AddNumberToObject(list, "minItems", lists[i].fewest);
        cJSON_AddNumberToObject(list, "maxItems", lists[i].most);
        cJSON_AddStringToObject(item, "type", "integer");
        cJSON_AddNumberToObject(item, "minimum", lists[i].low);
        if (lists[i].high)
            cJSON_AddNumberToObject(item, "maximum", lists[i].high);
        cJSON_AddStringToObject(list, "description", lists[i].help);
        cJSON_AddItemToObject(properties, lists[i].name, list);
    }
    const struct wn_parameter *others = wn_search_more_parameters(&count);
    cJSON *more = object_schema(others, count), *all = cJSON_GetObjectItem(more, "properties");
    for (int i = 0; i < count; i++)
        cJSON_AddItemToObject(properties, others[i].name, cJSON_DetachItemFromObject(all, others[i].name));
    cJSON_Delete(more);
    return schema;
}

static const char tokenizer_key[] =
    "{\"enum\": [\"class\", \"file\"], \"description\": \"class (default): the stages that the tokenizer's class "
    "builds "
    "anew are built anew, as transformers 5 does; file: tokenizer.json as it is, as transformers 4 did\"}";

void wn_sweep_schema(struct wn_text *text)
{
    int count;
    const struct wn_parameter *calibration = wn_calibration_parameters(&count);
    cJSON *schema = cJSON_CreateObject(), *properties, *required;
    cJSON_AddStringToObject(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(schema, "title", "winnow sweep file");
    cJSON_AddStringToObject(schema, "type", "object");
    properties = cJSON_AddObjectToObject(schema, "properties");
    cJSON_AddItemToObject(properties, "$schema", string_schema("this schema, for editors"));
    cJSON_AddItemToObject(properties, "name", string_schema("name of the sweep"));
    cJSON_AddItemToObject(properties, "description", string_schema("free text"));
    cJSON_AddItemToObject(properties, "model",
                          item_or_list(string_schema("Hugging Face checkpoint directory, relative to this file")));
    cJSON_AddItemToObject(properties, "tokenizer", cJSON_Parse(tokenizer_key));
    cJSON *compute = words_schema("f32|bf16");
    cJSON_AddStringToObject(compute, "description", "arithmetic of the linears of the forward: f32 (default) or bf16");
    cJSON_AddItemToObject(properties, "compute", compute);
    cJSON_AddItemToObject(properties, "calibration",
                          named(object_schema(calibration, count), "calibration sets by name"));
    cJSON_AddItemToObject(properties, "search", named(search_schema(), "searches by name (winnow help search)"));
    cJSON_AddItemToObject(properties, "grid", grid_schema());
    cJSON_AddItemToObject(properties, "evaluate", evaluate_schema());
    cJSON_AddItemToObject(properties, "inputs",
                          string_schema("folder that relative paths refer to; default: the folder of this file"));
    cJSON_AddItemToObject(properties, "statistics", statistics_schema());
    cJSON_AddItemToObject(properties, "output", string_schema("results file, relative to this file"));
    cJSON_AddItemToObject(properties, "scratch",
                          string_schema("folder for what a stop leaves to be continued, relative to this file"));
    required = cJSON_AddArrayToObject(schema, "required");
    cJSON_AddItemToArray(required, cJSON_CreateString("model"));
    cJSON_AddItemToArray(required, cJSON_CreateString("grid"));
    cJSON_AddItemToArray(required, cJSON_CreateString("evaluate"));
    cJSON_AddFalseToObject(schema, "additionalProperties");
    char *printed = cJSON_Print(schema);
    wn_text_printf(text, "%s\n", printed);
    cJSON_free(printed);
    cJSON_Delete(schema);
}

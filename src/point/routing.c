/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routing.c: "routing": "dense". The rows of a calibration set go to the experts that the dense model chooses for them,
 * in every block, while what experts see comes from compressed blocks: so statistics of an expert are of the tokens
 * that it has in the dense model. The dense states go down the blocks beside the others, a pass more for each block.
 */
#include "walk.h"

bool wn_point_asks_routes(const struct wn_point *point)
{
    return point->routes_dense && wn_point_collects(point);
}

int64_t wn_routing_experts_bytes(const struct wn_model *model, const struct wn_sequences *sequences)
{
    return wn_model_routed_rows(model, wn_sequences_tokens(sequences)) * (int64_t)sizeof(int32_t);
}

int64_t wn_point_routes_bytes(const struct wn_run *run, const struct wn_point *point)
{
    if (!wn_point_asks_routes(point))
        return 0;
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_sequences *sequences = &prepared->calibrations[point->calibration].sequences;
    return wn_sequences_tokens(sequences) * prepared->model->config.hidden_size * (int64_t)sizeof(float) +
           wn_routing_experts_bytes(prepared->model, sequences);
}

void wn_routing_open(struct wn_routing *routing, const struct wn_subject *subject)
{
    const struct wn_sequences *sequences = &wn_subject_calibration(subject)->sequences;
    if (!wn_point_asks_routes(subject->point))
        return;
    /* Written with every state, in the first blocks too, which may have no experts. */
    routing->experts = wn_alloc_zero(wn_routing_experts_bytes(subject->model, sequences), 1);
    routing->hidden = wn_workspace_embed(subject->model, sequences);
    routing->choosing = routing->routed = *sequences;
    routing->choosing.chosen = routing->routed.chosen = subject->model->config.decoder.experts.chosen;
    routing->choosing.routes = (struct wn_routes){routing->experts, false};
    routing->routed.routes = (struct wn_routes){routing->experts, true};
}

void wn_routing_release(struct wn_routing *routing)
{
    wn_free(routing->hidden);
    wn_free(routing->experts);
    *routing = (struct wn_routing){0};
}

wn_status wn_routing_choose(struct wn_routing *routing, const struct wn_subject *subject,
                            struct wn_workspace *workspace, const struct wn_block *block)
{
    if (!routing->hidden)
        return WN_OK;
    struct wn_pushing pushing = {.part = WN_PART_ROUTE, .all = wn_sequences_parts(&routing->choosing)};
    return wn_workspace_push_set(workspace, subject->model, block, &routing->choosing, routing->hidden, &pushing);
}

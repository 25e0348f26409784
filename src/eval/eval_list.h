/* SPDX-License-Identifier: Apache-2.0 */
/* One row per kind of evaluation: WN_EVAL(name) refers to wn_eval_NAME in src/eval/NAME.c. */
WN_EVAL(perplexity)
WN_EVAL(multiple_choice)
WN_EVAL(pairs)
WN_EVAL(continuation)
WN_EVAL(rolling)
WN_EVAL(generation)
WN_EVAL(efficiency)

/* One row per kind of evaluation: WN_EVAL(name) refers to wn_eval_NAME in src/eval/NAME.c. */
WN_EVAL(perplexity)
WN_EVAL(multiple_choice)

/* One row per method: WN_METHOD(NAME) stands for `const struct wn_method wn_method_NAME` in src/method/NAME.c. */
WN_METHOD(none)
WN_METHOD(magnitude)
WN_METHOD(wanda)
WN_METHOD(rtn)

/* SPDX-License-Identifier: Apache-2.0 */
/* One row per method: WN_METHOD(NAME) stands for `const struct wn_method wn_method_NAME` in src/method/NAME.c. */
WN_METHOD(none)
WN_METHOD(magnitude)
WN_METHOD(random)
WN_METHOD(wanda)
WN_METHOD(sparsegpt)
WN_METHOD(rtn)
WN_METHOD(gptq)
WN_METHOD(spqr)
WN_METHOD(awq)
WN_METHOD(llm_int8)
WN_METHOD(smoothquant)
WN_METHOD(drop)

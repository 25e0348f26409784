/* SPDX-License-Identifier: Apache-2.0 */
/* stop.h: the one way out of the program, shared by wn_bug_ and the allocator. Private to src/base. */
#ifndef WINNOW_BASE_STOP_H
#define WINNOW_BASE_STOP_H

/* Calls what wn_set_abort was given, then abort(). The caller has printed its line. */
void wn_stop_(void) __attribute__((noreturn));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* manual.c: all commands as a manual page and as completion for bash, made from their pages. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "winnow_build.h"

/* ---- roff ---- */

/* A text as it is: backslashes, hyphens and what begins like a request are no markup. */
static void add_plain(struct wn_text *to, const char *text, size_t length)
{
    if (length && (*text == '.' || *text == '\''))
        wn_text_printf(to, "\\&");
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\')
            wn_text_printf(to, "\\e");
        else if (text[i] == '-')
            wn_text_printf(to, "\\-");
        else
            wn_text_append(to, text + i, 1);
    }
    wn_text_printf(to, "\n");
}

/* A line of a page: a paragraph, an option with what it does, or an example, which stays as it is. */
static void add_line(struct wn_text *to, const char *line, size_t length)
{
    size_t indent = strspn(line, " "), second = wn_next_cell(line, length, indent);
    if (!length) {
        wn_text_printf(to, ".PP\n");
    } else if (!indent) {
        add_plain(to, line, length);
    } else if (second) {
        size_t end = second;
        while (line[end - 1] == ' ')
            end--;
        wn_text_printf(to, ".TP\n");
        add_plain(to, line + indent, end - indent);
        add_plain(to, line + second, length - second);
    } else {
        wn_text_printf(to, ".nf\n");
        add_plain(to, line, length);
        wn_text_printf(to, ".fi\n");
    }
}

static void add_page(struct wn_text *to, const char *page)
{
    while (*page) {
        size_t length = strcspn(page, "\n");
        add_line(to, page, length);
        page += length + (page[length] == '\n');
    }
}

void wn_add_manual(struct wn_text *to)
{
    int count;
    const struct wn_command *commands = wn_commands(&count);
    wn_text_printf(to,
                   ".TH WINNOW 1 \"\" \"winnow %s\"\n.SH NAME\n"
                   "winnow \\- distributed sweeps of compressed language models\n.SH SYNOPSIS\n",
                   WN_VERSION);
    for (int i = 0; i < count; i++) {
        wn_text_printf(to, ".HP\nwinnow ");
        add_plain(to, commands[i].usage, strlen(commands[i].usage));
    }
    for (int i = 0; i < count; i++) {
        wn_text_printf(to, ".SH WINNOW %s\n", commands[i].name);
        add_plain(to, commands[i].help, strlen(commands[i].help));
        wn_text_printf(to, ".PP\n");
        add_page(to, commands[i].page);
    }
}

/* ---- bash ---- */

static bool is_option_character(char c)
{
    return (c >= 'a' && c <= 'z') || c == '-';
}

enum { NAME_COLUMNS = 24 }; /* options of a page begin left of this */

static void add_option(struct wn_texts *found, const char *at)
{
    size_t length = 2;
    while (is_option_character(at[length]))
        length++;
    char *option = wn_strndup(at, length);
    wn_texts_add(found, option);
    wn_free(option);
}

/* The long options of a command, each once: lines of its page that begin with one. */
static void add_options(struct wn_text *to, const struct wn_command *command)
{
    struct wn_texts found = {0};
    for (const char *line = command->page; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *at = line + strspn(line, " "), *end = line + strcspn(line, "\n");
        if (at == line || *at != '-')
            continue;
        for (; at + 2 < end && at < line + NAME_COLUMNS; at++)
            if (at[-1] == ' ' && at[0] == '-' && at[1] == '-' && is_option_character(at[2]))
                add_option(&found, at);
    }
    for (int64_t i = 0; i < found.count; i++)
        wn_text_printf(to, " %s", found.texts[i]);
    wn_texts_release(&found);
}

void wn_add_completion(struct wn_text *to)
{
    int count;
    const struct wn_command *commands = wn_commands(&count);
    wn_text_printf(to, "_winnow() {\n"
                       "  local word=${COMP_WORDS[COMP_CWORD]} words\n"
                       "  case ${COMP_WORDS[1]} in\n");
    for (int i = 0; i < count; i++) {
        wn_text_printf(to, "  %s) words=\"", commands[i].name);
        add_options(to, &commands[i]);
        wn_text_printf(to, "\" ;;\n");
    }
    wn_text_printf(to, "  esac\n"
                       "  [ \"$COMP_CWORD\" -gt 1 ] || words=\"");
    for (int i = 0; i < count; i++)
        wn_text_printf(to, i ? " %s" : "%s", commands[i].name);
    wn_text_printf(to, "\"\n"
                       "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                       "}\n"
                       "complete -o default -F _winnow winnow\n");
}

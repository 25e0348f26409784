/* SPDX-License-Identifier: Apache-2.0 */
/* manual.c: all commands as a manual page and as completion for bash, made from their pages. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "winnow_build.h"

/* ---- roff ---- */

/* A text as it is: backslashes, hyphens and what begins like a request are no markup. */
static void print_plain(const char *text)
{
    bool first = true;
    for (; *text; text++) {
        if (first && (*text == '.' || *text == '\''))
            printf("\\&");
        first = *text == '\n';
        if (*text == '\\')
            printf("\\e");
        else if (*text == '-')
            printf("\\-");
        else
            putchar(*text);
    }
    putchar('\n');
}

void wn_print_manual(void)
{
    int count;
    const struct wn_command *commands = wn_commands(&count);
    printf(".TH WINNOW 1 \"\" \"winnow %s\"\n.SH NAME\nwinnow \\- distributed sweeps of compressed language models\n",
           WN_VERSION);
    printf(".SH SYNOPSIS\n.nf\n");
    for (int i = 0; i < count; i++) {
        printf("winnow ");
        print_plain(commands[i].usage);
    }
    printf(".fi\n");
    for (int i = 0; i < count; i++) {
        printf(".SH WINNOW %s\n", commands[i].name);
        print_plain(commands[i].help);
        printf(".PP\n.nf\n");
        print_plain(commands[i].page);
        printf(".fi\n");
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
static void print_options(const struct wn_command *command)
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
        printf(" %s", found.texts[i]);
    wn_texts_release(&found);
}

void wn_print_completion(void)
{
    int count;
    const struct wn_command *commands = wn_commands(&count);
    printf("_winnow() {\n"
           "  local word=${COMP_WORDS[COMP_CWORD]} words\n"
           "  case ${COMP_WORDS[1]} in\n");
    for (int i = 0; i < count; i++) {
        printf("  %s) words=\"", commands[i].name);
        print_options(&commands[i]);
        printf("\" ;;\n");
    }
    printf("  esac\n"
           "  [ \"$COMP_CWORD\" -gt 1 ] || words=\"");
    for (int i = 0; i < count; i++)
        printf(i ? " %s" : "%s", commands[i].name);
    printf("\"\n"
           "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "}\n"
           "complete -o default -F _winnow winnow\n");
}

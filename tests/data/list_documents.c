/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_documents: what data.h reads of files, for check_documents.py. Paths come one a line; of each file it prints
 * "file CONTENT", then "text HEX" or "bad MESSAGE" for every record, or else "refused MESSAGE".
 */
#include <winnow/data.h>

#include <stdio.h>
#include <string.h>

static void print_text(const struct wn_documents *documents, int64_t index)
{
    static const char *const fields[] = {"text", NULL};
    struct wn_text text = {0};

    if (wn_documents_text(documents, index, fields, &text) != WN_OK) {
        printf("bad %s\n", wn_error_message());
    } else {
        printf("text ");
        for (size_t i = 0; i < text.length; i++)
            printf("%02x", (unsigned char)text.data[i]);
        printf("\n");
    }
    wn_text_release(&text);
}

static void print_file(const char *path)
{
    struct wn_documents documents;

    if (wn_documents_open(path, false, &documents) != WN_OK) {
        printf("refused %s\n", wn_error_message());
    } else {
        printf("file %s\n", documents.content);
        for (int64_t i = 0; i < documents.count; i++)
            print_text(&documents, i);
        wn_documents_close(&documents);
    }
}

int main(void)
{
    char path[4096];

    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = '\0';
        print_file(path);
    }
    return 0;
}

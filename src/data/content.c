/* SPDX-License-Identifier: Apache-2.0 */
/* Files that hold no text: known by their first bytes and named, so that nobody takes them for text. */
#include "documents.h"

#include <string.h>

/* Bytes at a place, what a file with them is, and what to do. */
struct signature {
    const char *bytes;
    int length;
    int64_t at;
    const char *what, *todo;
};

#define BYTES(text) (text), (int)sizeof(text) - 1

static const struct signature signatures[] = {
    {BYTES("\x28\xb5\x2f\xfd"), 0, "is compressed by zstd", "unpack it: zstd -d FILE"},
    {BYTES("\xfd"
           "7zXZ\0"),
     0, "is compressed by xz", "unpack it: xz -dk FILE"},
    {BYTES("1AY&SY"), 4, "is compressed by bzip2", "unpack it: bzip2 -dk FILE"},
    {BYTES("\x04\x22\x4d\x18"), 0, "is compressed by lz4", "unpack it: lz4 -d FILE"},
    {BYTES("7z\xbc\xaf\x27\x1c"), 0, "is a 7z archive", "unpack it: 7z x FILE"},
    {BYTES("PK\x03\x04"), 0, "is a zip archive", "unpack it: unzip FILE"},
    {BYTES("ustar"), 257, "is a tar archive", "unpack it: tar xf FILE"},
    {BYTES("\x1f\x8b"), 0, "is packed twice by gzip", "unpack it: gzip -d FILE"},
    {BYTES("PAR1"), 0, "is Parquet",
     "write it as JSON lines: python3 -c 'import pandas; "
     "pandas.read_parquet(\"FILE\").to_json(\"FILE.jsonl\", orient=\"records\", lines=True)'"},
    {BYTES("ARROW1"), 0, "is Arrow",
     "write it as JSON lines: python3 -c 'import pandas; "
     "pandas.read_feather(\"FILE\").to_json(\"FILE.jsonl\", orient=\"records\", lines=True)'"},
    {BYTES("\xff\xff\xff\xff"), 0, "is a stream of Arrow (a data set of `datasets`)",
     "write it as JSON lines: python3 -c 'import datasets; "
     "datasets.Dataset.from_file(\"FILE\").to_json(\"FILE.jsonl\")'"},
    {BYTES("\x89HDF\r\n"), 0, "is HDF5", "write its texts as JSON lines"},
    {BYTES("%PDF-"), 0, "is a PDF", "write its text as plain text: pdftotext FILE"},
    {BYTES("version https://git-lfs.github.com/spec/"), 0, "is a pointer of git-lfs, not the file",
     "fetch it: git lfs pull"},
    {BYTES("\xff\xfe\0\0"), 0, "is UTF-32", "convert it: iconv -f UTF-32 -t UTF-8 FILE"},
    {BYTES("\0\0\xfe\xff"), 0, "is UTF-32", "convert it: iconv -f UTF-32 -t UTF-8 FILE"},
    {BYTES("\xff\xfe"), 0, "is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE"},
    {BYTES("\xfe\xff"), 0, "is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE"},
};

static bool has_signature(const struct signature *signature, const char *data, int64_t size)
{
    return size >= signature->at + signature->length &&
           memcmp(data + signature->at, signature->bytes, (size_t)signature->length) == 0;
}

/* UTF-16 without a mark: the ASCII characters of the first few have a zero byte before or behind each. */
static const char *utf16_without_mark(const char *data, int64_t size)
{
    int64_t pairs = size / 2 < 32 ? size / 2 : 32, low = 0, high = 0;

    for (int64_t i = 0; i < pairs; i++) {
        low += data[2 * i] != 0 && data[2 * i + 1] == 0;
        high += data[2 * i] == 0 && data[2 * i + 1] != 0;
    }
    if (pairs < 2)
        return NULL;
    return low * 2 > pairs ? "UTF-16LE" : high * 2 > pairs ? "UTF-16BE" : NULL;
}

wn_status doc_refuse_other(const char *path, const char *data, int64_t size)
{
    const char *order = utf16_without_mark(data, size);

    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++)
        if (has_signature(&signatures[i], data, size))
            return wn_fail(WN_ERR_INPUT, "%s: %s; expected text or JSON in UTF-8, or gzip of it; %s", path,
                           signatures[i].what, signatures[i].todo);
    if (order)
        return wn_fail(WN_ERR_INPUT,
                       "%s: is UTF-16; expected text or JSON in UTF-8, or gzip of it; convert it: iconv -f %s -t "
                       "UTF-8 FILE",
                       path, order);
    return WN_OK;
}

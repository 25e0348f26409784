/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sentencepiece.c: reads a tokenizer.model: Protocol Buffers with the few fields of sentencepiece_model.proto that
 * tokens depend on; any other field is passed over, as that format asks.
 */
#include "sentencepiece.h"

#include <string.h>

#include <winnow/io.h>

enum { VARINT = 0, EIGHT_BYTES = 1, BYTES = 2, FOUR_BYTES = 5 };

/* A message: bytes of the file, which are read from the front. */
struct message {
    const char *path;
    const uint8_t *file, *at, *end;
};

struct field {
    uint64_t number, value; /* of a varint */
    int kind;
    struct message bytes; /* of BYTES and FOUR_BYTES */
};

static wn_status damaged(const struct message *message, const char *what)
{
    return wn_fail(WN_ERR_INPUT, "%s: not a SentencePiece model: %s at byte %lld", message->path, what,
                   (long long)(message->at - message->file));
}

static wn_status read_varint(struct message *message, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (message->at == message->end)
            return damaged(message, "it is cut off");
        uint8_t byte = *message->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return WN_OK;
    }
    return damaged(message, "a number is too long");
}

static wn_status read_bytes(struct message *message, uint64_t length, struct message *bytes)
{
    if (length > (uint64_t)(message->end - message->at))
        return damaged(message, "it is cut off");
    *bytes = (struct message){message->path, message->file, message->at, message->at + length};
    message->at += length;
    return WN_OK;
}

static wn_status read_field(struct message *message, struct field *field)
{
    uint64_t key, length;

    *field = (struct field){.bytes = *message};
    WN_TRY(read_varint(message, &key));
    field->number = key >> 3;
    field->kind = (int)(key & 7);
    switch (field->kind) {
    case VARINT:
        return read_varint(message, &field->value);
    case EIGHT_BYTES:
        return read_bytes(message, 8, &field->bytes);
    case FOUR_BYTES:
        return read_bytes(message, 4, &field->bytes);
    case BYTES:
        WN_TRY(read_varint(message, &length));
        return read_bytes(message, length, &field->bytes);
    default:
        return damaged(message, "a field is of an unknown kind");
    }
}

static wn_status expect(const struct message *message, const struct field *field, int kind, const char *what)
{
    return field->kind == kind ? WN_OK : damaged(message, what);
}

/* Replaces *text by the bytes of a field. */
static wn_status read_text(const struct message *message, const struct field *field, char **text)
{
    const char *bytes = (const char *)field->bytes.at;
    int64_t length = field->bytes.end - field->bytes.at;

    WN_TRY(expect(message, field, BYTES, "a text is no text"));
    if (length == 0 || memchr(bytes, 0, (size_t)length) || wn_utf8_invalid_at(bytes, length) >= 0)
        return damaged(message, "a text is empty or no valid UTF-8");
    wn_free(*text);
    *text = wn_strndup(bytes, (size_t)length);
    return WN_OK;
}

/* The same, but an empty text leaves the one of before. */
static wn_status read_name(const struct message *message, const struct field *field, char **text)
{
    bool empty = field->kind == BYTES && field->bytes.at == field->bytes.end;

    return empty ? WN_OK : read_text(message, field, text);
}

static wn_status read_number(const struct message *message, const struct field *field, int64_t *number)
{
    *number = (int32_t)(uint32_t)field->value;
    return expect(message, field, VARINT, "a number is none");
}

static wn_status read_flag(const struct message *message, const struct field *field, bool *flag)
{
    *flag = field->value != 0;
    return expect(message, field, VARINT, "a flag is none");
}

/* ---- messages ---- */

static wn_status read_piece(struct message message, struct tok_spm_piece *piece)
{
    struct field field;

    while (message.at < message.end) {
        WN_TRY(read_field(&message, &field));
        if (field.number == 1)
            WN_TRY(read_text(&message, &field, &piece->text));
        if (field.number == 2) {
            WN_TRY(expect(&message, &field, FOUR_BYTES, "a score is no number"));
            memcpy(&piece->score, field.bytes.at, sizeof piece->score);
        }
        if (field.number == 3)
            WN_TRY(read_number(&message, &field, &piece->type));
    }
    if (!piece->text)
        return damaged(&message, "a piece has no text");
    return piece->score - piece->score == 0 ? WN_OK : damaged(&message, "a score is not finite");
}

static wn_status add_piece(const struct message *message, const struct field *field, struct tok_spm *spm)
{
    enum { MOST = 1 << 24 };

    WN_TRY(expect(message, field, BYTES, "a piece is none"));
    if (spm->count == MOST)
        return damaged(message, "there are too many pieces");
    if (spm->count == spm->capacity) {
        spm->capacity = spm->capacity ? 2 * spm->capacity : 1024;
        spm->pieces = wn_resize(spm->pieces, spm->capacity, sizeof *spm->pieces);
    }
    spm->pieces[spm->count] = (struct tok_spm_piece){.type = TOK_SPM_NORMAL};
    return read_piece(field->bytes, &spm->pieces[spm->count++]);
}

static wn_status read_trainer(struct message message, struct tok_spm *spm)
{
    struct field field;

    while (message.at < message.end) {
        WN_TRY(read_field(&message, &field));
        switch (field.number) {
        case 3:
            WN_TRY(read_number(&message, &field, &spm->model_type));
            break;
        case 35:
            WN_TRY(read_flag(&message, &field, &spm->byte_fallback));
            break;
        case 40:
            WN_TRY(read_number(&message, &field, &spm->unknown));
            break;
        case 41:
            WN_TRY(read_number(&message, &field, &spm->bos));
            break;
        case 42:
            WN_TRY(read_number(&message, &field, &spm->eos));
            break;
        case 45:
            WN_TRY(read_name(&message, &field, &spm->unknown_piece));
            break;
        case 46:
            WN_TRY(read_name(&message, &field, &spm->bos_piece));
            break;
        case 47:
            WN_TRY(read_name(&message, &field, &spm->eos_piece));
            break;
        default:
            break;
        }
    }
    return WN_OK;
}

static wn_status read_normalizer(struct message message, struct tok_spm *spm)
{
    struct field field;

    while (message.at < message.end) {
        WN_TRY(read_field(&message, &field));
        if (field.number == 3)
            WN_TRY(read_flag(&message, &field, &spm->add_dummy_prefix));
        if (field.number == 4)
            WN_TRY(read_flag(&message, &field, &spm->remove_extra_whitespaces));
        if (field.number != 2)
            continue;
        WN_TRY(expect(&message, &field, BYTES, "precompiled_charsmap is none"));
        wn_free(spm->charsmap);
        spm->charsmap = NULL;
        spm->charsmap_length = (size_t)(field.bytes.end - field.bytes.at);
        if (spm->charsmap_length > 0) {
            spm->charsmap = wn_alloc((int64_t)spm->charsmap_length, 1);
            memcpy(spm->charsmap, field.bytes.at, spm->charsmap_length);
        }
    }
    return WN_OK;
}

static wn_status read_model(struct message message, struct tok_spm *spm)
{
    struct field field;

    while (message.at < message.end) {
        WN_TRY(read_field(&message, &field));
        if (field.number == 1)
            WN_TRY(add_piece(&message, &field, spm));
        if (field.number == 2) {
            WN_TRY(expect(&message, &field, BYTES, "trainer_spec is none"));
            WN_TRY(read_trainer(field.bytes, spm));
        }
        if (field.number == 3) {
            WN_TRY(expect(&message, &field, BYTES, "normalizer_spec is none"));
            WN_TRY(read_normalizer(field.bytes, spm));
        }
    }
    return spm->count > 0 ? WN_OK : damaged(&message, "no piece");
}

wn_status tok_spm_read(const char *path, struct tok_spm *spm)
{
    struct wn_mapped file;

    *spm = (struct tok_spm){
        .model_type = TOK_SPM_UNIGRAM, .bos = 1, .eos = 2, .add_dummy_prefix = true, .remove_extra_whitespaces = true};
    spm->unknown_piece = wn_strdup("<unk>");
    spm->bos_piece = wn_strdup("<s>");
    spm->eos_piece = wn_strdup("</s>");
    WN_TRY(wn_map(path, &file));
    wn_status status = read_model((struct message){path, file.data, file.data, file.data + file.size}, spm);
    wn_unmap(&file);
    return status;
}

void tok_spm_release(struct tok_spm *spm)
{
    for (int64_t i = 0; i < spm->count; i++) {
        wn_free(spm->pieces[i].text);
        wn_free(spm->pieces[i].renamed);
    }
    wn_free(spm->pieces);
    wn_free(spm->unknown_piece);
    wn_free(spm->bos_piece);
    wn_free(spm->eos_piece);
    wn_free(spm->charsmap);
    *spm = (struct tok_spm){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 through the EVP interface of libcrypto, which picks the fastest code for the processor. */
#include <winnow/io.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

struct wn_hash {
    EVP_MD_CTX *context;
};

struct wn_hash *wn_hash_create(void)
{
    struct wn_hash *hash = wn_alloc(1, sizeof *hash);

    hash->context = EVP_MD_CTX_new();
    if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1)
        WN_BUG("libcrypto gives no SHA-256");
    return hash;
}

void wn_hash_update(struct wn_hash *hash, const void *data, size_t length)
{
    if (EVP_DigestUpdate(hash->context, data, length) != 1)
        WN_BUG("SHA-256 failed in libcrypto");
}

void wn_hash_finish(struct wn_hash *hash, uint8_t digest[32])
{
    if (EVP_DigestFinal_ex(hash->context, digest, NULL) != 1)
        WN_BUG("SHA-256 failed in libcrypto");
    EVP_MD_CTX_free(hash->context);
    wn_free(hash);
}

void wn_hash_hex(const uint8_t digest[32], char hex[WN_HASH_HEX])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 32; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[64] = '\0';
}

void wn_hash_buffer(const void *data, size_t length, char hex[WN_HASH_HEX])
{
    struct wn_hash *hash = wn_hash_create();
    uint8_t digest[32];

    wn_hash_update(hash, data, length);
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
}

/* Reads in pieces instead of mapping: a failing disk then gives a status and not a signal. */
wn_status wn_hash_file(const char *path, char hex[WN_HASH_HEX])
{
    enum { CHUNK = 1 << 20 };
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for the writer of a pipe */
    uint8_t digest[32];
    ssize_t got;

    if (descriptor < 0)
        return wn_fail(WN_ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    struct wn_hash *hash = wn_hash_create();
    char *chunk = wn_alloc(CHUNK, 1);
    wn_status status = WN_OK;
    while ((got = read(descriptor, chunk, CHUNK)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status =
                wn_fail(errno == EISDIR ? WN_ERR_INPUT : WN_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
            break;
        }
        wn_hash_update(hash, chunk, (size_t)got);
    }
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
    wn_free(chunk);
    close(descriptor);
    return status;
}
